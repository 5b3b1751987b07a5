"""`flash bench` from its options to its exit code: 0, 1 if anything was untrue or unfinished, 130 if interrupted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson

from benchmarks import machine, page, proc, table
from benchmarks.children import Watch
from benchmarks.cluster import private_directory
from benchmarks.course import CALM_SHARE, Course
from benchmarks.options import Options
from benchmarks.progress import Progress
from benchmarks.sale import Bench
from benchmarks.signals import Signals, Stopped
from benchmarks.sockets import raise_file_limit
from benchmarks.visit import Visit
from flash.config import Config

INTERRUPTED = 130


def run(config: Config, options: Options, arguments: list[str]) -> int:
    """Measure, then report. Raises `OperatorError` if it could not be finished."""
    progress = Progress()
    found = _blank(options, arguments)
    raise_file_limit()  # the children inherit it
    try:
        with Signals() as signals, private_directory() as folder:
            bench = Bench(folder, Watch(signals, options.timeout_seconds), progress)
            course = Visit(options, bench, found, config.database_url) if options.url else Course(options, bench, found)
            course.run()
    except Stopped:
        progress.clear()
        sys.stderr.write("flash: interrupted; everything that was started has been stopped\n")
        return INTERRUPTED
    _note_what_disturbed(found)
    _report(found, options)
    return 1 if found["wrong"] else 0


def _blank(options: Options, arguments: list[str]) -> dict[str, Any]:
    found = machine.facts(arguments)
    chosen = {name: getattr(options, name) for name in ("web", "inventory", "size", "clients", "http", "url")}
    found |= {"options": chosen, "ceilings": {"constants": [], "postgres": None, "valkey": None}}
    found |= {"sales": [], "refusals": [], "audit": None, "wrong": [], "not_measured": [], "notes": []}
    if not proc.is_measurable():
        found["not_measured"].append("CPU and memory of the processes: this system has no /proc")
    if not options.rate:
        found["not_measured"].append("an open loop, whose latencies count from the intended start: ask with --rate")
    found["not_measured"] += ["more than one host, a network, and a disk other than this machine's"]
    return found


def _note_what_disturbed(found: dict[str, Any]) -> None:
    """What a reader must know before believing a figure."""
    cores = found["machine"]["cores"]
    measured = [sale for sale in found["sales"] if sale["others_cpu_seconds"] is not None and sale["processes"]]
    available = sum(sale["window_seconds"] for sale in measured) * cores
    if not found["options"]["url"] and available:
        share = sum(sale["others_cpu_seconds"] for sale in measured) / available
        if share > CALM_SHARE:
            found["notes"].append(
                f"The machine was not quiet: during the sales, {share:.0%} of its CPU time went to processes of others."
            )
    busiest = max((sale["generator"]["busy"] for sale in found["sales"]), default=0.0)
    if busiest > 0.8:
        found["notes"].append(
            f"The load generator kept a core {busiest:.0%} busy: it may have been the limit, not the service."
        )
    lost = sum(row["lost"] for row in found["ceilings"]["constants"])
    if lost:
        found["notes"].append(
            f"The servers of the ceilings closed {lost:,} connections amid a request; these were repeated."
        )


def _report(found: dict[str, Any], options: Options) -> None:
    sys.stdout.write(table.render(found))
    if options.json is not None:
        _write(options.json, orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    if options.html is not None:
        _write(options.html, page.render(found).encode())


def _write(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    sys.stdout.write(f"written: {file}\n")
