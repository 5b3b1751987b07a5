"""The command line of `scripts/bench`, and what it must not ask for. Nothing heavy is imported here."""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from flash.errors import OperatorError
from flash.testing.arguments import number

STORMS = ("hot-user", "hot-sale", "junk-codes", "junk-paths", "herd", "outage")
SECTIONS = ("sales", "idle", "budget", "web", "reads", "overload", "storms", "viewers", "leading", "cost")

DESCRIPTION = """\
Start the embedded stores and the service in a temporary directory, sell whole sales to closed-loop buyers (a
checkout, then a purchase), and measure next to it what limits it: servers that answer a constant, PostgreSQL's
group commit, round trips to the stores. All counts are re-read from the database and audited. A wrong count is exit
code 1, a slow one never is. A full run takes a few minutes and talks to nothing but this machine.

settings: all FLASH_… variables reach the service; DATABASE_URL counts only with --url, for the audit
"""


class Options(argparse.Namespace):
    """`web` and `clients` are tried one by one, `sizes` with one number of clients; `http` None: as FLASH_HTTP says."""

    web: tuple[int, ...]
    inventory: int
    size: int
    sizes: tuple[int, ...]
    clients: tuple[int, ...]
    http: str | None
    url: str | None
    rate: float | None
    sections: tuple[str, ...]
    section_seconds: float
    storms: tuple[str, ...]
    herd: int
    outage: float
    viewers: int
    open_sales: int
    sold_each: int
    beside: tuple[int, ...]
    against: Path | None
    ceiling_seconds: float
    timeout: float
    json: Path | None
    html: Path | None
    docs: Path | None

    def middle_clients(self, wanted: int) -> int:
        """For what is measured with one number of them only."""
        return min(self.clients, key=lambda clients: abs(clients - wanted))


def parse(arguments: Sequence[str]) -> Options:
    """Exits with code 2 if they are malformed.

    Raises `OperatorError` for a result that could not be written: better now than after minutes.
    """
    options = _parser().parse_args(arguments, Options())
    for file in (options.json, options.html, options.docs and options.docs / "benchmarks.md"):
        if file is not None and not file.absolute().parent.is_dir():
            raise OperatorError(f"{file} cannot be written: there is no directory {file.absolute().parent}")
    return options


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="scripts/bench", description=DESCRIPTION, formatter_class=raw)
    add = parser.add_argument
    clients = (16, 64, 256, 1024)
    add("--web", type=_several(1, 64), default=(1,), metavar="N[,N…]", help="web processes (1)")
    add("--inventory", type=number(int, 1, 64), default=1, metavar="N", help="inventory processes (1)")
    add("--size", type=number(int, 20, 1_000_000), default=10_000, metavar="N", help="items of a sale (10000)")
    add("--sizes", type=_several(20, 1_000_000), default=(), metavar="N,N…", help="also compare sales of these sizes")
    add("--clients", type=_several(1, 20_000), default=clients, metavar="N,N…", help="buyers (16,64,256,1024)")
    add("--http", choices=("builtin", "hypercorn"), help="FLASH_HTTP of the service (default: as it is set)")
    add("--url", type=_loopback, help="measure the service that runs there, e.g. http://127.0.0.1:8080")
    add("--rate", type=number(float, 0.1, 1e6), metavar="R", help="also an open loop of R sales per second")
    add(
        "--sections",
        type=_names(SECTIONS),
        default=("sales", "idle"),
        metavar="S,S…",
        help=f"{','.join(SECTIONS)} (sales,idle)",
    )
    add(
        "--section-seconds",
        type=number(float, 0.2, 600),
        default=5.0,
        metavar="S",
        help="reads, overload, storms (5)",
    )
    add("--storms", type=_names(STORMS), default=STORMS, metavar="S,S…", help=f"{','.join(STORMS)} (all)")
    add("--outage", type=number(float, 0.1, 60), default=10.0, metavar="S", help="storms: without PostgreSQL (10)")
    add("--herd", type=number(int, 1, 20_000), default=5_000, metavar="N", help="of storms: who come at once (5000)")
    add("--viewers", type=number(int, 1, 5_000), default=5_000, metavar="N", help="of the section viewers (5000)")
    add("--open-sales", type=number(int, 200, 10_000), default=2_000, metavar="N", help="of the section leading (2000)")
    add("--sold-each", type=number(int, 1, 9_000), default=200, metavar="N", help="leading: sold of each sale (200)")
    add("--beside", type=_several(0, 10_000), default=(1, 100, 1_000), metavar="N,N…", help="cost: other open sales")
    add("--against", type=_tree, metavar="DIR", help="compare with the service of that checkout, which has a .venv")
    add("--ceiling-seconds", type=number(float, 0.05, 60), default=2.0, metavar="S", help="for each ceiling (2)")
    add("--timeout", type=number(float, 1, 86_400), default=1_800.0, metavar="S", help="give up after (1800)")
    add("--json", type=Path, metavar="FILE", help="write everything that was measured")
    add("--html", type=Path, metavar="FILE", help="write a report with plots that needs no other file")
    add("--docs", type=Path, metavar="DIR", help="write tables and plots into DIR/benchmarks.md and DIR/benchmarks/")
    return parser


def _names(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"no {', '.join(sorted(unknown))}: there are {', '.join(known)}")
        return names

    return parse


def _tree(text: str) -> Path:
    tree = Path(text).absolute()
    if (tree / ".venv/bin/python").exists() and (tree / "flash").is_dir():
        return tree
    raise argparse.ArgumentTypeError(f"{text}: expected a checkout with .venv/bin/python and flash/")


def _several(low: int, high: int) -> Callable[[str], tuple[int, ...]]:
    return lambda text: tuple(map(number(int, low, high), text.split(",")))


def _loopback(text: str) -> str:
    """A benchmark is an attack on whoever did not ask for it: this machine only, by number, so that no name lies."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(text)
        host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
        is_plain = parts.scheme == "http" and parts.path in ("", "/") and not parts.query
        if is_plain and ipaddress.ip_address(host).is_loopback:
            return f"http://{f'[{host}]' if ':' in host else host}:{parts.port or 80}"
    raise argparse.ArgumentTypeError(f"{text}: only a loopback address may be measured, e.g. http://127.0.0.1:8080")
