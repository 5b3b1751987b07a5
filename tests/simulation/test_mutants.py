"""The checks can fail: each wrong program is caught, and by a seed of the ordinary suite."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, planted
from tests.simulation.plan import plan_of
from tests.simulation.test_simulation import SEEDS
from tests.simulation.world import run_plan


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_program_is_caught(name: str) -> None:
    _, hint = MUTANTS[name]
    with planted(name):
        for seed in (*range(hint, SEEDS), *range(hint)):
            if run_plan(plan_of(seed)).wrong:
                return
    raise AssertionError(f"no seed below {SEEDS} has caught it")
