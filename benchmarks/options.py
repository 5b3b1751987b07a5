"""The command line of `flash bench`, and what it may not ask for. Nothing heavy is imported here."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flash.errors import OperatorError

DESCRIPTION = """\
Start the embedded stores and the service in a temporary directory, sell whole sales to closed-loop buyers (a
checkout, then a purchase), and measure beside it what limits it: a server that answers a constant, PostgreSQL's
group commit, Valkey's round trips. All counts are re-read from the database and audited; a wrong one is exit code 1,
a slow one never. A full run takes a few minutes; nothing but this machine is talked to.

settings: all FLASH_… variables reach the service; DATABASE_URL counts with --url only, for the audit
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure. `web` and `clients` are tried one by one, `sizes` with one number of clients."""

    web: tuple[int, ...]
    inventory: int
    size: int
    sizes: tuple[int, ...]
    clients: tuple[int, ...]
    http: str
    url: str | None
    rate: float | None
    ceiling_seconds: float
    timeout_seconds: float
    json: Path | None
    html: Path | None

    @property
    def middle_clients(self) -> int:
        """The number of clients for what is measured with one only: 64, or whatever is nearest to it."""
        return min(self.clients, key=lambda clients: abs(clients - 64))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare them; `read` makes `Options` of what was parsed."""
    add = parser.add_argument
    counts = _numbers(1, 20_000)
    add("--web", type=_numbers(1, 64), default=(1,), metavar="N[,N…]", help="web processes (1)")
    add("--inventory", type=_number(int, 1, 64), default=1, metavar="N", help="inventory processes (1)")
    add("--size", type=_number(int, 20, 1_000_000), default=10_000, metavar="N", help="items of a sale (10000)")
    add("--sizes", type=_numbers(20, 1_000_000), default=(), metavar="N,N…", help="also the cost a sale of these sizes")
    add("--clients", type=counts, default=(16, 64, 256, 1024), metavar="N,N…", help="buyers (16,64,256,1024)")
    add("--http", choices=("builtin", "hypercorn"), help="FLASH_HTTP of the service (default: as it is set)")
    add("--url", type=_loopback, help="measure the service that runs there, e.g. http://127.0.0.1:8080")
    add("--rate", type=_number(float, 0.1, 1e6), metavar="R", help="also an open loop of R sales a second")
    add("--ceiling-seconds", type=_number(float, 0.05, 60), default=2.0, metavar="S", help="for each ceiling (2)")
    add("--timeout", type=_number(float, 1, 86_400), default=1_800.0, metavar="S", help="give up after (1800)")
    add("--json", type=Path, metavar="FILE", help="write everything that was measured")
    add("--html", type=Path, metavar="FILE", help="write a report with plots that needs no other file")


def read(parsed: argparse.Namespace, http: str) -> Options:
    """The options; `http` is the service's FLASH_HTTP unless they say otherwise.

    Raises `OperatorError` for a result that could not be written: better now than after minutes.
    """
    for file in (parsed.json, parsed.html):
        if file is not None and not file.absolute().parent.is_dir():
            raise OperatorError(f"{file} cannot be written: there is no directory {file.absolute().parent}")
    return Options(
        web=parsed.web,
        inventory=parsed.inventory,
        size=parsed.size,
        sizes=parsed.sizes,
        clients=parsed.clients,
        http=parsed.http or http,
        url=parsed.url,
        rate=parsed.rate,
        ceiling_seconds=parsed.ceiling_seconds,
        timeout_seconds=parsed.timeout,
        json=parsed.json and parsed.json.absolute(),
        html=parsed.html and parsed.html.absolute(),
    )


def _number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], Any]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low:,g} and {high:,g}")
        return value

    return parse


def _numbers(low: int, high: int) -> Callable[[str], tuple[int, ...]]:
    one = _number(int, low, high)
    return lambda text: tuple(one(part) for part in text.split(","))


def _loopback(text: str) -> str:
    """A benchmark is an attack on whoever did not ask for it: this machine only, by number, so that no name lies."""
    parts = urlsplit(text)
    try:
        is_loopback = parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
        port = parts.port
    except ValueError:
        is_loopback, port = False, None
    if not is_loopback:
        raise argparse.ArgumentTypeError(f"{text}: only a loopback address may be measured, e.g. http://127.0.0.1:8080")
    if parts.scheme != "http" or parts.path not in ("", "/") or parts.query:
        raise argparse.ArgumentTypeError(f"{text}: expected something like http://127.0.0.1:8080")
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    return f"http://{f'[{host}]' if ':' in str(host) else host}:{port or 80}"
