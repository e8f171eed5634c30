"""A library's own sentences: held in so many runs, refuted by one that can be repeated, or not tested."""

from __future__ import annotations

from fnmatch import filter as filter_names
from pathlib import Path

import pytest

from duetime import contenders
from duetime.errors import BadUsage
from duetime.harness.plan import lookup
from duetime.league.claims import Claim, claims_of, verdict
from duetime.league.facts import Facts, facts_of, ours
from tests.league.cells import judged

NEVER_TWICE = Claim(entrant="rq", says="never twice", source="x", refuted_by=["duplicate"], scenarios=["crash*"])


def test_a_claim_holds_in_the_runs_that_try_it() -> None:
    cells = [judged("contender:rq", "crash", seed) for seed in (1, 2)]
    others = [judged("contender:rq", "calm", duplicate=1), judged("contender:oban", "crash", duplicate=1)]

    assert verdict(NEVER_TWICE, [*cells, *others]) == "held in 2 runs"


def test_a_refuted_claim_names_the_run_that_refutes_it() -> None:
    cells = [judged("contender:rq", "crash"), judged("contender:rq:tuned", "crash_after", 2, duplicate=1, lost=1)]

    said = verdict(NEVER_TWICE, cells)

    assert said.startswith("refuted in 1 of 2 runs, for instance by `")
    assert said.endswith("run contender:rq:tuned crash_after --seed 2`")


def test_a_claim_that_no_judged_run_tries_is_not_tested() -> None:
    unknown = judged("contender:rq", "crash", outcome="unknown")

    assert verdict(NEVER_TWICE, [unknown]) == "not tested, because no run of crash* was judged"


def test_a_claim_may_be_of_one_variant() -> None:
    default = Claim(entrant="rq", says="", source="x", refuted_by=["duplicate"], variant="default")

    assert verdict(default, [judged("contender:rq:tuned", duplicate=1)]).startswith("not tested")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[claims]]\nsays = "a"\nsource = "b"\nrefuted_by = ["twice"]', "twice is none of"),
        ('[[claims]]\nsays = "a"\nsource = "b"', "needs refuted_by, or not_tested"),
        ('[[claims]]\nsays = "a"\nsource = "b"\nwhere = "c"', "cannot read"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "claims.toml").write_text(text)

    with pytest.raises(BadUsage, match=message):
        claims_of(tmp_path)


@pytest.mark.parametrize("name", contenders.names())
def test_each_library_states_its_facts_and_claims_name_scenarios_that_exist(name: str) -> None:
    assert isinstance(facts_of(f"contender:{name}"), Facts)
    patterns = [pattern for claim in claims_of(contenders.folder(name)) for pattern in claim.scenarios]
    assert [pattern for pattern in patterns if not filter_names(lookup.names(), pattern)] == []


def test_our_designs_state_theirs_and_a_variant_may_differ() -> None:
    assert all(facts_of(name).title for name in ours())
    assert (facts_of("oban_style_queue").store, facts_of("oban_style_queue:staged").store) == ("Redis", "PostgreSQL")


def test_a_library_without_facts_is_told_what_to_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(contenders, "FOLDER", tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "design.py").touch()

    with pytest.raises(BadUsage, match="write title, home, store"):
        facts_of("contender:mine")
    (tmp_path / "mine" / "facts.toml").write_text('title = "Mine"\nhome = ""')
    with pytest.raises(BadUsage, match="has no home, store"):
        facts_of("contender:mine")
