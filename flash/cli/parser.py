"""The command line's grammar: every command, its options and its help. It runs nothing."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from flash import __version__
from flash.cli import commands as run
from flash.cli.arguments import Parser
from flash.cli.completion import SHELLS
from flash.config import Config

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"

EXIT_CODES = """exit codes:
  0  done, or stopped as asked
  1  something failed or was in the way (the message says what)
  2  wrong usage or wrong settings (the message names all of them)
"""

BUY_EXIT_CODES = """exit codes:
  0  bought
  1  the service could not be reached, or did not answer as it should
  2  wrong usage or wrong settings (the message names all of them)
  3  refused: sold, sold out, the limit is reached, or the request was wrong
  4  not now, or not known: the message says what to do
"""


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="flash",
        description="A flash-sale backend: every hour a sale of exactly 10,000 items, sold exactly once.",
        epilog=f"Settings are environment variables; `flash config` lists them with their values.\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"flash {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    _add_processes(commands)
    _add_buyers(commands)
    _add_database_commands(commands)
    _add_advice(commands)
    return parser


def _add_processes(commands: Commands) -> None:
    up = _command(
        commands, "up", run.up, "run the whole service on this machine",
        "Start an embedded PostgreSQL and Valkey for whichever of DATABASE_URL and REDIS_URL is unset, apply the\n"
        "schema, run the processes of the Procfile, and print how to buy. What dies is started again; what keeps\n"
        "dying ends everything with exit code 1. Ctrl-C or SIGTERM stops everything.\n\n"
        "settings: PORT (8080; web process i listens on PORT + i), FLASH_HOST, FLASH_DATA_DIR (.flash),\n"
        "          FLASH_SALE_PERIOD, FLASH_SALE_SIZE, NO_COLOR (if set, no colours)",
    )  # fmt: skip
    up.add_argument(
        "-c",
        "--concurrency",
        metavar="web=N,inventory=M",
        help="how many processes of each kind (web=1,inventory=2); 1 of a kind left out",
    )
    up.add_argument("-p", "--port", type=_port, help="port of the first web process, instead of PORT")
    up.add_argument("-f", "--procfile", type=Path, help="instead of ./Procfile, or the packaged one if there is none")
    up.add_argument("--demo", action="store_true", help="a sale a minute of 100 items, and a crowd that buys them")
    up.add_argument("-v", "--verbose", action="store_true", help="on a terminal, show what the start logs as well")
    web = _command(
        commands, "web", run.web, "serve HTTP",
        "Serve checkouts, purchases and what visitors read on FLASH_HOST:PORT, over HTTPS if FLASH_TLS_CERT and\n"
        "FLASH_TLS_KEY are set. WEB_CONCURRENCY processes share the port, and one that dies is restarted. After\n"
        "SIGTERM, the requests that were accepted are answered first.\n\n"
        "settings: DATABASE_URL, REDIS_URL (both needed), PORT, FLASH_HOST, FLASH_TLS_CERT, FLASH_TLS_KEY,\n"
        "          WEB_CONCURRENCY, FLASH_DRAIN_SECONDS",
        needs=("database_url", "redis_url"),
        warns=False,  # it logs them
    )  # fmt: skip
    # what a process gets from its supervisor, see `flash.processes.web.Shared`
    shared = ("SOCKET", "PIPE", "METRICS", "METRICS_SOCKET")
    web.add_argument("--shared", nargs=4, type=int, metavar=shared, help=argparse.SUPPRESS)
    _command(
        commands, "inventory", run.inventory, "run one inventory process",
        "Decide the purchases of sales and open new sales on time. Run as many as you like: each sale is led by the\n"
        "process that holds its lease, and another takes over if that one dies.\n\n"
        "settings: DATABASE_URL, REDIS_URL (both needed), FLASH_LEASE_TTL, FLASH_SALE_PERIOD, FLASH_SALE_SIZE",
        needs=("database_url", "redis_url"),
        warns=False,  # it logs them
    )  # fmt: skip


def _add_database_commands(commands: Commands) -> None:
    migrate = _command(
        commands, "migrate", run.migrate, "bring the schema up to date",
        "Apply the migrations that the database lacks. Repeating it, or running it twice at once, is safe. It may run\n"
        "as another role than the service, which then needs no rights on the schema.\n\n"
        "settings: DATABASE_URL (needed)",
        needs=("database_url",),
    )  # fmt: skip
    migrate.add_argument("--grant-to", metavar="ROLE", help="give this role the rights that the service needs")
    keys = _command(
        commands, "keys", run.keys, "list, rotate or retire the keys of checkout codes",
        "Without an action, list the keys. `rotate` adds one, which signs new codes a few seconds later; codes that\n"
        "buyers hold stay valid. `retire ID` deletes one that signs no more, and its codes with it: after a leak at\n"
        "once, otherwise when FLASH_CODE_TTL has passed and nobody needs the receipts of its codes.\n"
        "The role of DATABASE_URL must own the tables. Without DATABASE_URL, they are those of `flash up`.\n\n"
        "settings: DATABASE_URL, FLASH_DATA_DIR (.flash)",
    )  # fmt: skip
    actions = keys.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("rotate", help="add a key that new codes get")
    actions.add_parser("retire", help="delete a key and its codes").add_argument("id", type=int, metavar="ID")
    audit = _command(
        commands, "audit", run.audit, "prove from the database that nothing was oversold",
        "Check every sale: sold = purchases <= stock, no buyer over the limit, an earlier checkout for every\n"
        "purchase, no item or code sold twice, epochs never go back. Rows that break a rule are printed, and the exit\n"
        "code is 1. Without DATABASE_URL, the embedded PostgreSQL of FLASH_DATA_DIR is read; if `flash up` does not\n"
        "run, it is started for as long as that takes.\n\n"
        "settings: DATABASE_URL, FLASH_DATA_DIR (.flash)",
    )  # fmt: skip
    audit.add_argument("--json", action="store_true", help="print JSON, for programs")
    audit.add_argument("--sale", type=int, metavar="ID", help="check only this sale")


def _add_buyers(commands: Commands) -> None:
    buy = _command(
        commands, "buy", run.buy, "buy an item: checkout and purchase in one",
        "Check out and purchase an item of a service that runs, and print the receipt. Without --id it is a free one\n"
        "of an open sale. What may be repeated is repeated, and never bought twice.\n\n"
        "settings: FLASH_DATA_DIR (of the `flash up` that runs here), or else PORT, FLASH_HOST and FLASH_TLS_CERT",
        exit_codes=BUY_EXIT_CODES,
    )  # fmt: skip
    buy.add_argument("--user", required=True, metavar="NAME", help="who buys: 1 to 64 characters")
    buy.add_argument("--id", type=_id, metavar="ITEM", help="the item, instead of a free one")
    _add_address(buy)
    top = _command(
        commands, "top", run.top, "watch a running service: its sales, how fast they sell, and its health",
        "Show a service that runs, once a second until q or Ctrl-C; without a terminal, once. With the operator's\n"
        "token also who leads each sale, how long purchases take, and every process.\n\n"
        "settings: FLASH_DATA_DIR (of the `flash up` that runs here), or else PORT, FLASH_HOST and FLASH_TLS_CERT;\n"
        "          FLASH_CONTROL_TOKEN, NO_COLOR",
    )  # fmt: skip
    top.add_argument("--once", action="store_true", help="show it once, on a terminal too")
    _add_address(top)
    crowd = _command(
        commands, "crowd", run.crowd, "let made-up buyers buy, on this machine only",
        "Let made-up buyers visit a service on this machine until the command is stopped: a few requests a second,\n"
        "some of which the shop refuses. `flash up --demo` runs it.\n\n"
        "settings: PORT, FLASH_SALE_PERIOD, FLASH_SALE_SIZE (how fast they buy)",
    )  # fmt: skip
    _add_address(crowd)


def _add_address(command: argparse.ArgumentParser) -> None:
    command.add_argument("--url", metavar="URL", help="where the service is, if not here")
    command.add_argument("--cacert", type=Path, metavar="FILE", help="trust this PEM file instead of the system's")


def _add_advice(commands: Commands) -> None:
    config = _command(
        commands, "config", run.config, "show the effective settings",
        "Print every setting with its effective value and its meaning. Passwords are masked.",
    )  # fmt: skip
    config.add_argument("--json", action="store_true", help="print JSON, for programs")
    doctor = _command(
        commands, "doctor", run.doctor, "check this machine and the stores for what would get in the way",
        "Check Python, the embedded stores, the data directory, the disk, the port, the stores of DATABASE_URL and\n"
        "REDIS_URL (or those of a running `flash up`), and the system's limits. One line each; exit code 1 if one\n"
        "fails.",
        warns=False,  # they are among its findings
    )  # fmt: skip
    doctor.add_argument("--json", action="store_true", help="print JSON, for programs")
    doctor.add_argument(
        "--acl", action="store_true", help="only print the ACL SETUSER of a Redis user that may do what is needed"
    )
    completion = _command(
        commands, "completion", run.completion, "print what makes a shell complete this command",
        "Print a script for bash, zsh or fish. For bash, put this into ~/.bashrc: eval \"$(flash completion bash)\"",
        warns=False,
    )  # fmt: skip
    completion.add_argument("shell", choices=SHELLS)


def _command(
    commands: Commands,
    name: str,
    run: Callable[[Config, argparse.Namespace], int],
    summary: str,
    description: str,
    needs: tuple[str, ...] = (),
    *,
    warns: bool = True,
    exit_codes: str = EXIT_CODES,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=exit_codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, needs=needs, warns=warns)
    return parser


def _id(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of an item")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: expected 0 to 65535")
    return int(text)
