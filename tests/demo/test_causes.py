"""The explanations of the demo."""

from __future__ import annotations

from duetime.demo.causes import with_fix_of_mechanism

GENERAL = "Duplicate. It was delivered twice. Fix: send an idempotency key, or accept losses."


def test_a_violation_has_the_fix_of_its_mechanism_where_there_is_one() -> None:
    poller = with_fix_of_mechanism(GENERAL, design="pull_worker", scenario="more_servers", label="duplicate")
    unknown = with_fix_of_mechanism(GENERAL, design="somebody_elses", scenario="more_servers", label="duplicate")

    assert poller.startswith("Duplicate. It was delivered twice. Fix: run one beat")
    assert unknown == GENERAL
