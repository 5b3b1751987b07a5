"""Many runs: over seeds, in several processes; and what failed, made as small as it gets.

scripts/simulate --seeds 10000 --from 0, or --seed 1234 for that one alone
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from tests.simulation.plan import Plan, plan_of
from tests.simulation.world import Report, run_plan

_PIECE = 50
_TRACE_LINES_MAX = 400

Run = Callable[[Plan], Report]


def run_seeds(seeds: Iterable[int]) -> tuple[list[Plan], Counter[str]]:
    """The plans that failed, and what all of them together have met."""
    failed, coverage = list[Plan](), Counter[str]()
    for seed in seeds:
        report = run_plan(plan_of(seed))
        coverage += report.coverage
        if report.wrong:
            failed.append(report.plan)
    return failed, coverage


def shrink(plan: Plan, run: Run = run_plan) -> Plan:
    """Fewer faults, and then fewer buyers, as long as something is wrong still."""
    while smaller := next((smaller for smaller in _smaller(plan) if run(smaller).wrong), None):
        plan = smaller
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    for place in range(len(plan.faults)):
        yield replace(plan, faults=plan.faults[:place] + plan.faults[place + 1 :])
    if plan.buyers > plan.stock // plan.user_limit + 1:
        yield replace(plan, buyers=plan.buyers - 1)


def explain(report: Report) -> str:
    """What was wrong, in which plan, and what happened."""
    lines = [f"seed {report.plan.seed}: {len(report.wrong)} things are wrong", *(f"  {text}" for text in report.wrong)]
    lines += [f"plan: {replace(report.plan, faults=())}", *(f"  {fault}" for fault in report.plan.faults), "trace:"]
    return "\n".join(lines + report.trace[:_TRACE_LINES_MAX])


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0, or 1 if a seed failed."""
    parser = argparse.ArgumentParser(
        "scripts/simulate",
        description="Run whole clusters in virtual time, with faults that follow from a seed.",
        allow_abbrev=False,
    )
    parser.add_argument("--seeds", type=int, default=2_000, help="how many (default 2000)")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first one (default 0)")
    parser.add_argument("--seed", type=int, metavar="N", help="this one alone, as one that has failed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one for each core)")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        options.first, options.seeds = options.seed, 1
    began = time.monotonic()
    last = options.first + options.seeds
    pieces = [range(begin, min(begin + _PIECE, last)) for begin in range(options.first, last, _PIECE)]
    failed, coverage = list[Plan](), Counter[str]()
    with ProcessPoolExecutor(options.jobs) as pool:
        for done, (plans, seen) in enumerate(pool.map(run_seeds, pieces), 1):
            failed += plans
            coverage += seen
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{min(done * _PIECE, options.seeds)} of {options.seeds} seeds")
    for text, count in sorted(coverage.items()):
        _say(f"{count:10,}  {text}")
    what = f"seed {options.first}" if options.seeds == 1 else f"{options.seeds:,} seeds from {options.first}"
    _say(f"{what} in {time.monotonic() - began:.0f} s: {len(failed)} failed")
    for plan in failed[:3]:
        _say("\n" + explain(run_plan(shrink(plan))))
    if len(failed) > 3:
        _say("\nalso failed: " + ", ".join(str(plan.seed) for plan in failed[3:]))
    return 1 if failed else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
