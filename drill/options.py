"""The command line of `scripts/drill`."""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

from drill import namespaces
from drill.faults import FAULTS, GROUPS
from drill.network import NAMESPACES, PROXY
from flash.errors import ConfigError, OperatorError
from flash.testing.arguments import number

DESCRIPTION = """\
Start a cluster of real processes on real stores in a temporary directory, let buyers buy over HTTP, and break one thing
after another: kill and freeze leaders and web processes, empty, restart and freeze the stores, cut one process off from
one store, in one direction or both. Then compare all that buyers were told with what the database holds. Only processes
that the drill has started are broken, and all of it stays on this machine. The exit code is 0 if nothing contradicts
the promises, 1 with the evidence if something does.
"""


class Options(argparse.Namespace):
    """`faults` may name one several times: then it happens more often."""

    faults: list[str]
    seed: int
    seconds: float
    rounds: int
    every: float
    at_once: int
    web: int
    inventory: int
    buyers: int
    think: float
    size: int
    period: int
    network: str
    report: Path | None
    history: Path | None
    bank: Path | None
    evidence: Path | None


def parse(arguments: Sequence[str]) -> Options:
    """Exits with code 2 if they are malformed. Raises `OperatorError` for a file that could not be written."""
    options = _parser().parse_args(arguments, Options())
    for file in (options.report, options.history, options.bank, options.evidence):
        if file is not None and not file.absolute().parent.is_dir():
            raise OperatorError(f"{file} cannot be written: there is no directory {file.absolute().parent}")
    if options.network == NAMESPACES and (reason := namespaces.why_not()):
        raise ConfigError(reason)
    return options


def left_out(options: Options) -> list[str]:
    """Take the faults out that this network cannot have. Returns their names."""
    wanted = dict.fromkeys(options.faults)
    options.faults = [name for name in options.faults if FAULTS[name].network in ("", options.network)]
    return [name for name in wanted if name not in options.faults]


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "scripts/drill", description=DESCRIPTION, epilog=_epilog(), formatter_class=raw, allow_abbrev=False
    )
    add = parser.add_argument
    add("--faults", type=_faults, default=_faults("all"), metavar="F,F…", help="names or groups, NAME:3 thrice (all)")
    add("--seed", type=number(int, 0, 2**63), default=random.randrange(10**6), metavar="N", help="what comes when")
    add("--seconds", type=number(float, 1, 86_400), default=60.0, metavar="S", help="how long faults go on (60)")
    add("--rounds", type=number(int, 0, 10**6), default=0, metavar="N", help="stop sooner, after each fault N times")
    add("--every", type=number(float, 0, 3_600), default=2.0, metavar="S", help="from one fault to the next (2)")
    add("--at-once", type=number(int, 1, 4), default=1, metavar="N", help="faults of different targets together (1)")
    add("--web", type=number(int, 1, 16), default=2, metavar="N", help="web processes (2)")
    add("--inventory", type=number(int, 1, 16), default=3, metavar="N", help="inventory processes (3)")
    add("--buyers", type=number(int, 1, 1_000), default=24, metavar="N", help="buyers at once (24)")
    add("--think", type=number(float, 0, 60), default=0.12, metavar="S", help="a buyer's rest between items (0.12)")
    add("--size", type=number(int, 50, 1_000_000), default=1_000, metavar="N", help="items of a sale (1000)")
    add("--period", type=number(int, 1, 86_400), default=5, metavar="S", help="seconds from sale to sale (5)")
    networks = (PROXY, NAMESPACES)
    add("--network", choices=networks, default=PROXY, help="namespaces: a host for each process (Linux, root)")
    add("--report", type=Path, metavar="FILE", help="write an HTML page that needs no other file")
    add("--history", type=Path, metavar="FILE", help="write the purchases as EDN, for Jepsen's set checker")
    add("--bank", type=Path, metavar="FILE", help="write what was left and sold as EDN, for Jepsen's bank checker")
    add("--evidence", type=Path, metavar="DIR", help="where logs go if a check fails (a new temporary directory)")
    return parser


def _epilog() -> str:
    faults = "\n".join(f"  {kind.name:21}{kind.meaning}" for kind in FAULTS.values())
    return f"faults:\n{faults}\n\ngroups: {', '.join(GROUPS)}"


def _faults(text: str) -> list[str]:
    chosen: list[str] = []
    for part in text.split(","):
        name, _, times = part.partition(":")
        names = GROUPS.get(name, [name])
        if unknown := [one for one in names if one not in FAULTS]:
            raise argparse.ArgumentTypeError(f"no fault {unknown[0]!r}: there are {', '.join([*FAULTS, *GROUPS])}")
        chosen += names * number(int, 1, 1_000)(times or "1")
    return chosen
