"""scripts/fuzz: bursts of hostile inputs over seeds, in several processes, and what they were answered.

scripts/fuzz --target http --inputs 100000 --seed 0
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.fuzz.findings import BURST, Findings
from tests.fuzz.targets import TARGETS

_PIECE = 20
_SHOWN_FAILURES = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 1 if an input got no defined answer."""
    parser = argparse.ArgumentParser("scripts/fuzz", description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--target", choices=TARGETS, action="append", help="may be repeated (default: all)")
    parser.add_argument("--inputs", type=int, default=10_000, help=f"of each target, {BURST} a seed (default 10000)")
    parser.add_argument("--seed", type=int, default=0, help="the first one (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one for each core)")
    options = parser.parse_args(arguments)
    seeds = range(options.seed, options.seed + max(1, options.inputs // BURST))
    failed = [name for name in options.target or TARGETS if _run(name, seeds, options.jobs).failures]
    return 1 if failed else 0


def _run(name: str, seeds: range, jobs: int) -> Findings:
    began = time.monotonic()
    pieces = [seeds[at : at + _PIECE] for at in range(0, len(seeds), _PIECE)]
    findings = Findings()
    with ProcessPoolExecutor(min(jobs, len(pieces))) as pool:
        for found in pool.map(partial(run_target, name), pieces):
            findings.add(found)
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{name}: {findings.inputs:,} inputs")
    seconds = time.monotonic() - began
    _say(f"{name}: {findings.inputs:,} inputs of seeds {seeds[0]}-{seeds[-1]} in {seconds:.0f} s")
    for answer, count in sorted(findings.answers.items()):
        _say(f"{count:12,}  {answer}")
    for failure in findings.failures[:_SHOWN_FAILURES]:
        _say(f"  scripts/fuzz --target {name} --inputs {BURST} --seed {failure.seed}\n    {failure.what}")
    if more := len(findings.failures) - _SHOWN_FAILURES:
        _say(f"  and {more} more" if more > 0 else "")
    return findings


def run_target(name: str, seeds: range) -> Findings:
    return TARGETS[name](seeds)


def _say(text: str) -> None:
    if text:
        sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
