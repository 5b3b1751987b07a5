"""One load on the service, measured: what the buyers heard, and what each process used meanwhile."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import proc
from benchmarks.children import Watch, talking
from benchmarks.cluster import Address, Cluster
from benchmarks.proc import Usage
from benchmarks.progress import Progress

GENERATOR = "load generator"


class Bench:
    """What every measurement needs: where to work, when to stop, and whom to tell."""

    def __init__(self, folder: Any, watch: Watch, progress: Progress) -> None:
        self.folder = folder
        self.watch = watch
        self.progress = progress

    def load(self, script: str, arguments: Mapping[str, Any], addresses: Sequence[Address], **plan: Any) -> Any:
        """Run the load generator on one plan; what it has to say."""
        question = {
            "script": script,
            "arguments": arguments,
            "addresses": addresses,
            "deadline_seconds": max(1.0, self.watch.seconds_left()),
            **plan,
        }
        with talking("load", folder=self.folder) as generator:
            return generator.ask(question, self.watch, self.progress.report)

    def measured(self, cluster: Cluster, script: str, arguments: Mapping[str, Any], **plan: Any) -> dict[str, Any]:
        """The same on a cluster, with the CPU seconds and the peak memory of every process."""
        began = time.monotonic()
        before, busy_before = cluster.usage(), proc.machine_cpu_seconds()
        heard: dict[str, Any] = self.load(script, arguments, cluster.addresses, **plan)
        after, busy_after = cluster.usage(), proc.machine_cpu_seconds()
        heard["processes"] = _processes(before, after, heard)
        heard["window_seconds"] = time.monotonic() - began
        heard["others_cpu_seconds"] = _others(busy_before, busy_after, heard["processes"])
        return heard


def figures(heard: dict[str, Any]) -> dict[str, Any]:
    """The rates and costs of a sale that follow from what was measured."""
    sold = heard["accepted"]["purchase"]["count"]
    seconds = heard["sold_seconds"] or heard["seconds"]
    return {
        "sales": sold,
        "sale_seconds": seconds,
        "sales_per_second": sold / seconds if seconds else 0.0,
        "requests_per_second": heard["requests"] / heard["seconds"] if heard["seconds"] else 0.0,
        "refusals": sum(count for *_, count in heard["answers"]),
        "cpu_us_per_sale": microseconds_each(heard["processes"], sold),
    }


def ratios(row: Mapping[str, Any], constants: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Requests a second of a sale, as a share of what a constant reached with as many clients and processes."""
    return {
        ceiling["by"]: row["requests_per_second"] / ceiling["requests_per_second"]
        for ceiling in constants
        if (ceiling["web"], ceiling["clients"]) == (row["web"], row["clients"]) and ceiling["requests_per_second"]
    }


def microseconds_each(processes: Sequence[Mapping[str, Any]], count: int) -> float | None:
    """CPU of the service and its stores, without the load generator's; None where it was not measured."""
    spent: list[float] = [process["cpu_seconds"] for process in processes if process["name"] != GENERATOR]
    return 1e6 * sum(spent) / count if spent and count else None


def _processes(before: Mapping[str, Usage], after: Mapping[str, Usage], heard: Mapping[str, Any]) -> list[Any]:
    rows = [
        {
            "name": name,
            "cpu_seconds": max(0.0, now.cpu_seconds - before[name].cpu_seconds),
            "memory_peak_bytes": now.memory_peak_bytes,
            "processes": now.processes,
        }
        for name, now in after.items()
    ]
    generator = heard["generator"]
    own = {"cpu_seconds": generator["cpu_seconds"], "memory_peak_bytes": generator["memory_peak_bytes"]}
    return [*rows, {"name": GENERATOR, **own, "processes": 1}]


def _others(
    before: tuple[float, float] | None, after: tuple[float, float] | None, processes: Sequence[Mapping[str, Any]]
) -> float | None:
    """CPU seconds that went to processes that are not ours, or were stolen from this machine."""
    if before is None or after is None:
        return None
    ours: float = sum(process["cpu_seconds"] for process in processes)
    return max(0.0, sum(after) - sum(before) - ours)
