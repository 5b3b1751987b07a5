"""Whole clusters under faults, in virtual time: nothing that was said is false, and everything sells out."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import planted
from tests.simulation.plan import plan_of
from tests.simulation.seeds import explain, main, run_seeds, shrink
from tests.simulation.world import run_plan

SEEDS = 2_000
_BLOCK = 500

MET = (
    "term ended in its commit",
    "performed after its caller was gone",
    "call lost before it was performed",
    "answer lost after it was performed",
    "forgotten by a replaced database",
    "command found sold by an earlier batch",
    "final no",
    "call: receipt not_purchased",
    "command decided again",
    "unknown that was a yes",
    "unknown that was a no",
    "call: purchase code_already_used",
    "call: purchase sold_out",
    "call: purchase user_limit_reached",
    "call: purchase paused",
    "entry finished by a successor",
    "host of the next release beside one of this",
    "lease handed over",
    "lease taken that was not given back",
    "process that slept through the end of all faults",
    "run with many open sales",
    "write refused by a demoted Redis",
    "write that found the disk full",
)
"""What a block of seeds has to meet: without it, it would prove nothing."""


@pytest.mark.parametrize("first", range(0, SEEDS, _BLOCK))
def test_nothing_false_is_said_and_everything_sells_out(first: int) -> None:
    failed, coverage = run_seeds(range(first, first + _BLOCK))
    assert not failed, explain(run_plan(shrink(failed[0])))
    assert not [text for text in MET if not coverage[text]], coverage


def test_a_seed_gives_the_same_run_again() -> None:
    first, again = (run_plan(plan_of(402), keeps_trace=True) for _ in range(2))
    assert first.trace == again.trace
    assert len(first.trace) > 30


def test_a_failure_is_made_smaller_and_shows_what_happened() -> None:
    with planted("limit off by one"):
        plan = shrink(plan_of(9))
        report = run_plan(plan)
    assert not plan.faults, "it needs none"
    assert "is over the limit" in explain(report)
    assert "is sold to" in explain(report)


def test_a_seed_that_failed_is_run_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "1234", "--jobs", "1"]) == 0
    assert "\nseed 1234 in " in capsys.readouterr().out
