"""What a few rows prove, and what they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.audit.small import audited, ns, promise, reasons, violations

NO_REVISIONS = ("promised.revision", "delivered.revision")


@pytest.mark.parametrize(
    ("delivered", "violation"),
    [
        ([100], {}),
        ([110], {}),
        ([112], {"late": 1}),
        ([97.9], {"early": 1}),
        ([100, 103], {"duplicate": 1}),
        ([], {"missed": 1}),
    ],
)
def test_a_promise_is_judged_by_its_deliveries(
    delivered: list[float], violation: dict[str, int], tmp_path: Path
) -> None:
    report = audited(tmp_path, [promise()], [("k", 1, seconds) for seconds in delivered])

    assert violations(report) == violation
    assert report.outcome == ("fail" if violation else "pass"), report.unknown_because


@pytest.mark.parametrize("delivered", [110.5, 98.5])
def test_what_the_clock_tolerance_explains_is_unknown(delivered: float, tmp_path: Path) -> None:
    report = audited(tmp_path, [promise()], [("k", 1, delivered)])

    assert report.outcome == "unknown"
    assert reasons(report) == {"deliveries tolerance": 1}


@pytest.mark.parametrize(
    ("promises", "delivered"),
    [
        # Two clocks, each 1 s wrong: 2 s, and after a cancel the 2 s in flight on top.
        ([promise(due=0, accepted=101.9)], 100),
        ([promise(cancelled=100)], 103.9),
        ([promise(), promise(revision=2, due=995, accepted=100)], 103.9),
        ([promise(), promise(revision=2, due=None, accepted=None, cancelled=100)], 103.9),
    ],
)
def test_two_wrong_clocks_explain_no_phantom_and_no_stale_delivery(
    promises: list[list[Any]], delivered: float, tmp_path: Path
) -> None:
    explained = audited(tmp_path, promises, [("k", 1, delivered)])
    beyond = audited(tmp_path, promises, [("k", 1, delivered + (-0.2 if delivered == 100 else 0.2))])

    assert (violations(explained), reasons(explained)["deliveries tolerance"]) == ({}, 1)
    assert sum(violations(beyond).values()) == 1


@pytest.mark.parametrize(
    ("cancelled", "delivered", "violation"),
    [(60, 100, {"phantom": 1}), (98.5, 100, {}), (60, None, {}), (105, None, {}), (150, None, {"missed": 1})],
)
def test_a_cancelled_promise(
    cancelled: float, delivered: float | None, violation: dict[str, int], tmp_path: Path
) -> None:
    deliveries = [] if delivered is None else [("k", 1, delivered)]
    report = audited(tmp_path, [promise(cancelled=cancelled)], deliveries)

    assert violations(report) == violation
    assert report.outcome == ("fail" if violation else "pass"), report.unknown_because


@pytest.mark.parametrize("cancelled", [100.5, 98.5])
def test_a_cancel_at_or_after_the_delivery_leaves_the_promise_owed(cancelled: float, tmp_path: Path) -> None:
    once = audited(tmp_path, [promise(cancelled=cancelled)], [("k", 1, 100)])
    again = audited(tmp_path, [promise(cancelled=cancelled)], [("k", 1, 100), ("k", 1, 130)])

    assert (once.outcome, once.tally.owed, once.tally.owed_delivered) == ("pass", 3, 3)
    assert violations(again) == {"duplicate": 1}


def test_a_cancel_after_an_early_delivery_still_forbids_the_next_one(tmp_path: Path) -> None:
    report = audited(tmp_path, [promise(cancelled=80)], [("k", 1, 60), ("k", 1, 100)])

    assert violations(report) == {"early": 1, "phantom": 1}


@pytest.mark.parametrize("revision_2", [promise(revision=2, due=995, accepted=103), promise("k", 2, None, None, 103)])
def test_a_promise_replaced_or_cancelled_soon_after_its_delivery_was_owed(
    revision_2: list[Any], tmp_path: Path
) -> None:
    report = audited(tmp_path, [promise(), revision_2], [("k", 1, 100)])

    assert (report.outcome, report.tally.owed, report.tally.owed_delivered) == ("pass", 3, 3)


def test_a_miss_needs_a_cancel_column_or_the_users_word(tmp_path: Path) -> None:
    without = ["promised.cancelled_at"]

    silent = audited(tmp_path, [promise()], without=without)
    stated = audited(tmp_path, [promise()], without=without, terms={"assumed": frozenset({"no-cancels"})})

    assert (silent.outcome, reasons(silent)) == ("unknown", {"promises no cancels": 1})
    assert violations(stated) == {"missed": 1}


def test_a_miss_needs_an_accepted_time_or_the_users_word(tmp_path: Path) -> None:
    silent = audited(tmp_path, [promise(accepted=None)])
    stated = audited(tmp_path, [promise(accepted=None)], terms={"assumed": frozenset({"accepted-early"})})

    assert (silent.outcome, reasons(silent)) == ("unknown", {"promises no accepted time": 1})
    assert violations(stated) == {"missed": 1}


def test_a_late_delivery_of_a_promise_without_accepted_time_is_unknown(tmp_path: Path) -> None:
    report = audited(tmp_path, [promise(accepted=None)], [("k", 1, 500)])

    assert (report.outcome, reasons(report)) == ("unknown", {"deliveries no accepted time": 1})


def test_a_delivery_without_promise_is_a_phantom_only_if_the_promises_are_complete(tmp_path: Path) -> None:
    silent = audited(tmp_path, [], [("x", 1, 100)])
    stated = audited(tmp_path, [], [("x", 1, 100)], terms={"assumed": frozenset({"complete"})})

    assert (silent.outcome, reasons(silent)) == ("unknown", {"deliveries no promise": 1})
    assert violations(stated) == {"phantom": 1}


def test_an_old_revision_is_stale_and_not_missed(tmp_path: Path) -> None:
    promises = [promise(revision=1), promise(revision=2, due=300, accepted=80)]

    stale = audited(tmp_path, promises, [("k", 1, 100), ("k", 2, 300)])
    fine = audited(tmp_path, promises, [("k", 2, 300)])

    assert violations(stale) == {"stale": 1}
    assert fine.outcome == "pass"
    assert fine.tally.counts["none_due"] == 1


def test_a_promise_replaced_long_after_its_deadline_and_perhaps_before_is_unknown(tmp_path: Path) -> None:
    promises = [promise(), promise(revision=2, due=995, accepted=None), promise(revision=3, due=995, accepted=500)]

    report = audited(tmp_path, promises)

    assert (report.outcome, reasons(report)) == ("unknown", {"promises concurrent": 1})


def test_a_reschedule_that_cancels_the_old_row_in_its_transaction_still_owes_the_new_one(tmp_path: Path) -> None:
    promises = [promise(revision=1, cancelled=80), promise(revision=2, due=300, accepted=80)]

    assert violations(audited(tmp_path, promises)) == {"missed": 1}
    assert audited(tmp_path, promises, [("k", 2, 300)]).outcome == "pass"
    assert violations(audited(tmp_path, promises, [("k", 1, 100), ("k", 2, 300)])) == {"phantom": 1}


def test_a_row_without_due_time_cancels_its_key(tmp_path: Path) -> None:
    promises = [promise(), promise(revision=2, due=None, accepted=None, cancelled=60)]

    assert audited(tmp_path, promises).outcome == "pass"
    assert violations(audited(tmp_path, promises, [("k", 1, 100)])) == {"phantom": 1}


def test_an_outage_excuses_lateness_and_no_miss(tmp_path: Path) -> None:
    terms = {"outages": ((ns(90), ns(200)),)}

    late = audited(tmp_path, [promise()], [("k", 1, 210)], terms=terms)
    too_late = audited(tmp_path, [promise()], [("k", 1, 220)], terms=terms)
    missed = audited(tmp_path, [promise()], terms=terms)

    assert (late.outcome, late.tally.counts["excused"]) == ("pass", 1)
    assert violations(too_late) == {"late": 1}
    assert violations(missed) == {"missed": 1}


@pytest.mark.parametrize(("delivered", "violation"), [(204, {}), (210, {"phantom": 1})])
def test_the_time_of_an_outage_does_not_count_toward_in_flight(
    delivered: float, violation: dict[str, int], tmp_path: Path
) -> None:
    terms = {"outages": ((ns(90), ns(200)),)}

    report = audited(tmp_path, [promise(cancelled=95)], [("k", 1, delivered)], terms=terms)

    assert violations(report) == violation
    assert report.tally.counts["zombie"] == (not violation)


@pytest.mark.parametrize("due", [-1, 0.5, 995, 1005])
def test_a_promise_at_the_edge_of_the_deliveries_is_open(due: float, tmp_path: Path) -> None:
    terms = {"from_ns": ns(0), "to_ns": ns(1000)}

    report = audited(tmp_path, [promise(due=due, accepted=-50)], terms=terms)

    assert report.outcome == "pass"
    assert report.tally.counts["open"] == 1


@pytest.mark.parametrize(
    ("due", "reason", "said"), [(-5, "promises no from", "from_ns"), (1100, "promises no to", "to_ns")]
)
def test_promises_before_the_first_or_after_the_last_delivery_may_be_lost(
    due: float, reason: str, said: str, tmp_path: Path
) -> None:
    silent = audited(tmp_path, [promise(due=due, accepted=-50)])
    stated = audited(tmp_path, [promise(due=due, accepted=-50)], terms={said: ns(0 if said == "from_ns" else 1000)})

    assert (silent.outcome, reasons(silent)) == ("unknown", {reason: 1})
    assert f"say with --{said.removesuffix('_ns')}" in silent.unknown_because[0]
    assert stated.outcome == "pass"


def test_what_is_due_after_the_audit_is_not_missing(tmp_path: Path) -> None:
    report = audited(tmp_path, [promise(due=10**9)])

    assert (report.outcome, report.tally.counts["open"]) == ("pass", 1)


def test_the_edges_can_be_given(tmp_path: Path) -> None:
    terms = {"from_ns": ns(-1000), "to_ns": ns(2000)}

    report = audited(tmp_path, [promise(due=-100, accepted=-500), promise("l", due=1500)], terms=terms)

    assert violations(report) == {"missed": 2}


@pytest.mark.parametrize(
    ("promises", "deliveries", "assumed", "found", "unknown"),
    [
        # One promise for a key: other deliveries may belong to promises that are not in the data.
        ([100], [100, 103], (), {}, {"deliveries other promise": 1}),
        ([100], [100, 103], ("complete",), {"duplicate": 1}, {}),
        ([100], [40], ("complete",), {"phantom": 1}, {}),
        ([100], [112], (), {"late": 1}, {}),
        ([100], [], (), {"missed": 1}, {}),
        # Several: only their number is sure.
        ([100, 300], [100, 300], (), {}, {}),
        ([100, 300], [300], (), {"missed": 1}, {"deliveries several": 1}),
        ([100, 300], [301, 302], (), {}, {"deliveries several": 1}),
        ([100, 300], [100, 300, 305], ("complete",), {"duplicate": 1}, {}),
        ([100, 300], [100, 300, 305], (), {}, {"deliveries other promise": 1}),
        ([100, 300], [], (), {"missed": 2}, {}),
    ],
)
def test_without_revisions_each_row_is_a_promise(
    promises: list[float],
    deliveries: list[float],
    assumed: tuple[str, ...],
    found: dict[str, int],
    unknown: dict[str, int],
    tmp_path: Path,
) -> None:
    report = audited(
        tmp_path,
        [promise(due=due) for due in promises],
        [("k", None, seconds) for seconds in deliveries],
        without=NO_REVISIONS,
        terms={"assumed": frozenset(assumed)},
    )

    assert violations(report) == found
    assert reasons(report) == unknown


@pytest.mark.parametrize(("due", "missed"), [(3598, {}), (3602, {"missed": 1})])
def test_a_promise_that_may_be_delivered_before_the_data_begins_is_open(
    due: float, missed: dict[str, int], tmp_path: Path
) -> None:
    terms = {"from_ns": ns(0), "to_ns": ns(9000), "early_tolerance_ns": ns(3600) - ns(0)}

    report = audited(tmp_path, [promise(due=due, accepted=-9000)], terms=terms)

    assert (violations(report), reasons(report)) == (missed, {})


def test_a_late_delivery_may_be_the_second_one_if_the_first_could_come_before_the_data(tmp_path: Path) -> None:
    terms = {"from_ns": ns(0), "to_ns": ns(9000), "early_tolerance_ns": ns(3600) - ns(0)}

    report = audited(tmp_path, [promise(due=1800, accepted=-9000)], [("k", 1, 1900)], terms=terms)

    assert (violations(report), reasons(report)) == ({}, {"deliveries edge": 1})


def test_deliveries_without_revision_prove_the_miss_of_a_key_with_several(tmp_path: Path) -> None:
    promises = [promise(revision=1), promise(revision=2, due=300, accepted=80)]

    report = audited(tmp_path, promises, without=["delivered.revision"], others=True)

    assert violations(report) == {"missed": 1}


def test_rows_that_repeat_a_promise_are_one_and_rows_that_contradict_it_prove_nothing(tmp_path: Path) -> None:
    repeated = audited(tmp_path, [promise(), promise(accepted=51.9)])
    contradictory = audited(tmp_path, [promise(), promise(due=200)])

    assert (violations(repeated), repeated.tally.repeated) == ({"missed": 1}, 1)
    assert (contradictory.outcome, reasons(contradictory)) == ("unknown", {"promises contradictory": 1})


def test_rows_of_one_revision_with_two_due_times_may_be_two_promises(tmp_path: Path) -> None:
    report = audited(tmp_path, [promise(), promise(due=200)], [("k", 1, 100), ("k", 1, 200)])

    assert (report.outcome, reasons(report)) == ("unknown", {"deliveries contradictory": 1})


@pytest.mark.parametrize("accepted", [52.1, 500])
def test_rows_accepted_at_two_times_contradict_one_another(accepted: float, tmp_path: Path) -> None:
    promises = [promise(), promise(accepted=accepted)]

    undelivered = audited(tmp_path, promises)
    late = audited(tmp_path, promises, [("k", 1, 505)])
    twice = audited(tmp_path, promises, [("k", 1, 100), ("k", 1, 105)])

    assert (undelivered.outcome, reasons(undelivered)) == ("unknown", {"promises contradictory": 1})
    assert (late.outcome, reasons(late)) == ("unknown", {"deliveries contradictory": 1})
    assert violations(twice) == {"duplicate": 1}


@pytest.mark.parametrize(
    ("promises", "deliveries", "says"),
    [
        ([], [("k", 1, 5)], "nothing was promised"),
        ([promise()], [], "nothing was delivered"),
        ([promise()], [("K", 1, 50), ("K", 1, 900)], "no delivery belongs to any promise"),
        ([promise(accepted=None)], [("k", 1, 100)], "nothing was owed"),
    ],
)
def test_an_audit_that_proves_nothing_is_unknown(
    promises: list[list[Any]], deliveries: list[tuple[Any, ...]], says: str, tmp_path: Path
) -> None:
    report = audited(tmp_path, promises, deliveries, others=False)

    assert report.outcome == "unknown"
    assert report.unknown_because[0].startswith(says)


def test_lateness_is_counted_by_hour(tmp_path: Path) -> None:
    terms = {"to_ns": ns(9000)}

    report = audited(
        tmp_path, [promise(), promise("l", due=3700), promise("m", due=7300)], [("k", 1, 104)], terms=terms
    )
    [first, second, third] = report.bars()

    assert (first.lateness.percentiles()["max"], first.missed) == (4.0, 0)
    assert (second.missed, third.missed) == (1, 1)
