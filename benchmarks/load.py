"""The load generator: one lean process, one thread, raw sockets, no library. Loopback only.

Reads one plan (a JSON line) from stdin, says how far it is on stdout, and ends with the result.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks import proc
from benchmarks.loop import Load, say
from benchmarks.scripts import KINDS, make
from benchmarks.sockets import raise_file_limit
from benchmarks.stats import Arrivals, curve, summary


def perform(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out one plan; the result in plain values."""
    script = make(plan)
    rate = plan.get("rate")
    load = Load(
        [(host, port) for host, port in plan["addresses"]],
        plan["clients"],
        script,
        seconds=plan.get("seconds"),
        warm_seconds=plan.get("warm_seconds", 0.0),
        arrivals=Arrivals(rate, plan["count"]) if rate else None,
        deadline_seconds=plan["deadline_seconds"],
    )
    load.run()
    return {
        "is_finished": load.is_finished,
        "seconds": load.seconds,
        "sold_seconds": load.sold_at[-1] if load.sold_at else None,
        "requests": load.requests,
        "warm_requests": load.warm_requests,
        "accepted": {name: summary(load.accepted[kind]) for kind, name in enumerate(KINDS)},
        "refused": {name: summary(load.refused[kind]) for kind, name in enumerate(KINDS)},
        "answers": [[KINDS[kind], status, code, count] for (kind, status, code), count in sorted(load.answers.items())],
        "sheds": load.sheds,
        "lost": load.lost,
        # the buyers went on asking after the last one was sold
        "sold_over_time": [*curve(load.sold_at), (load.seconds, len(load.sold_at))],
        "generator": {
            "cpu_seconds": load.cpu_seconds,
            "busy": load.cpu_seconds / load.seconds if load.seconds else 0.0,
            "memory_peak_bytes": proc.memory_peak_bytes(os.getpid()),
        },
        "codes": script.codes,
    }


def main() -> None:
    raise_file_limit()
    say({"result": perform(json.loads(sys.stdin.readline()))})


if __name__ == "__main__":
    main()
