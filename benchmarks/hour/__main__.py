"""`scripts/hour`: what a sale's first seconds do to a cluster of any size, on paper, by the service's own rules."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import fields

from benchmarks.hour.costs import Costs, Size
from benchmarks.hour.stations import Cores, Log
from benchmarks.hour.world import Hour
from flash.testing.arguments import number

_DESCRIPTION = """\
Model the first seconds of a sale: buyers, web hosts, PostgreSQL, Redis and the sale's leader, on a virtual clock, with
the costs measured by scripts/bench and the service's own rules of admission. Nothing is started and nothing is sold.
"""

_BOUNDS = {
    "buyers": number(int, 1, 10_000_000),
    "arrive_within": number(float, 0, 3_600),
    "stock": number(int, 1, 1_000_000),
    "web_hosts": number(int, 1, 10_000),
    "web_cores": number(int, 1, 1_000),
    "postgres_cores": number(int, 1, 1_000),
    "window": number(int, 1, 100_000),
    "patience": number(float, 0, 3_600),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("scripts/hour", description=_DESCRIPTION, allow_abbrev=False)
    for field in fields(Size):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=_BOUNDS[field.name], default=getattr(Size(), field.name), metavar="N")
    parser.add_argument("--log-mb", type=number(float, 0.001, 1e6), default=500.0, metavar="N", help="MB/s to its disk")
    parser.add_argument("--seed", type=number(int, 0, 2**63), default=1, metavar="N")
    chosen = vars(parser.parse_args(arguments))
    size = Size(**{field.name: chosen[field.name] for field in fields(Size)})
    hour = Hour(size, Costs(log_bytes_second=chosen["log_mb"] * 1e6), chosen["seed"])
    begun = time.monotonic()
    hour.run()
    sys.stdout.write(report(hour) + f"\n({hour.clock.now:.1f} s of the model in {time.monotonic() - begun:.0f} s)\n")
    return 0


def report(hour: Hour) -> str:
    size, webs = hour.size, hour.webs
    lines = [
        f"{size.buyers:,} buyers within {size.arrive_within:g} s, {size.stock:,} items, {size.web_processes} web "
        f"processes on {size.web_hosts} hosts, {size.postgres_cores} cores of PostgreSQL",
        "",
        f"sold {hour.answers['purchase: sold']:,}, the last one after {hour.sold_out_at:.2f} s; "
        f"{hour.postgres.rows:,} rows written, the last one after {hour.postgres.log.last:.2f} s",
        f"half of all buyers had their last answer within {_rank(hour.stayed, 0.5):.2f} s of coming, "
        f"99 % within {_rank(hour.stayed, 0.99):.2f} s",
    ]
    for what, latencies in hour.latencies.items():
        lines.append(f"{what}: p50 {_rank(latencies, 0.5) * 1e3:,.0f} ms, p99 {_rank(latencies, 0.99) * 1e3:,.0f} ms")
    lines.append("")
    lines += [f"{count:>12,}  {answer}" for answer, count in sorted(hour.answers.items())]
    lines += ["", "            busy s   of its time   longest wait s   busy until s"]
    parts: list[tuple[str, float, Cores | Log]] = [
        ("web", sum(web.core.busy for web in webs) / len(webs), webs[0].core),
        ("PostgreSQL", hour.postgres.cores.busy / size.postgres_cores, hour.postgres.cores),
        ("its log", hour.postgres.log.busy, hour.postgres.log),
        ("leader", hour.leader_core.busy, hour.leader_core),
        ("Redis", hour.redis.busy, hour.redis),
    ]
    for name, busy, part in parts:
        lines.append(
            f"{name:<12}{busy:>6.2f}{busy / (part.last or 1):>13.0%}{part.waited_max:>17.2f}{part.last:>15.2f}"
        )
    return "\n".join(lines)


def _rank(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


if __name__ == "__main__":
    sys.exit(main())
