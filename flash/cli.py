"""The command line: what each command does, and what its exit code means. Heavy modules are imported only when needed.

A wrong setting, or something on this machine that is in the way, is reported on stderr without a traceback.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from flash import __version__
from flash.config import Config, settings
from flash.errors import ConfigError, FlashError, OperatorError, Unavailable, first_of

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

EXIT_CODES = """exit codes:
  0  done, or stopped as asked
  1  something failed or was in the way (the message says what)
  2  wrong usage or wrong settings (the message names all of them)
"""


NO_ASSERTIONS = (
    "this service refuses to run without assertions, because they guard against selling what is not there: "
    "leave out `python -O` and unset PYTHONOPTIMIZE"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if not __debug__:
        return _report(NO_ASSERTIONS, 2)
    options = _parser().parse_args(arguments)
    try:
        config = Config.from_env()
        for name in options.needs:
            config.require(name)
        code: int = options.run(config, options)
    except ConfigError as error:
        return _report(str(error), 2)
    except FlashError as error:
        return _report(str(error), 1)
    except BaseExceptionGroup as group:  # Trio wraps what leaves a nursery
        if group.split(FlashError)[1] is not None:
            raise
        return _report(str(first_of(group)), 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stdout = None  # the reader of our output has gone: there is nothing to flush
        return 0
    return code


def _report(text: str, code: int) -> int:
    for line in text.splitlines():
        sys.stderr.write(f"flash: {line}\n")
    return code


def _up(config: Config, options: argparse.Namespace) -> int:
    from flash.local.up import up

    if options.port is not None:
        config = replace(config, port=options.port)
    return up(config, options.concurrency, options.procfile)


def _web(config: Config, options: argparse.Namespace) -> int:
    from flash.processes.web import Shared, run_web

    return run_web(config, Shared(*options.shared) if options.shared else None)


def _inventory(config: Config, _options: argparse.Namespace) -> int:
    from flash.processes.inventory import run_inventory

    return run_inventory(config)


def _migrate(config: Config, options: argparse.Namespace) -> int:
    from flash import bridge
    from flash.stores.migration import migrate

    try:
        schema = bridge.run_in_loop(migrate, config.require("database_url"), grant_to=options.grant_to)
    except Unavailable as error:
        raise OperatorError(f"{error}; is DATABASE_URL right and the server running?") from error
    sys.stdout.write(f"the schema is at version {schema.version}\n")
    return 0


def _keys(config: Config, options: argparse.Namespace) -> int:
    from flash import bridge
    from flash.audit import table
    from flash.stores import keys

    url = config.require("database_url")
    if options.action == "rotate":
        id = bridge.run_in_loop(keys.with_session, url, keys.rotate_code_key)
        sys.stdout.write(f"key {id} signs new codes in {keys.SIGNS_AFTER_SECONDS:g} s; older codes stay valid\n")
    elif options.action == "retire":
        bridge.run_in_loop(keys.with_session, url, partial(keys.retire_code_key, id=options.id))
        sys.stdout.write(f"key {options.id} is gone: its codes are invalid within {keys.READ_KEYS_SECONDS:g} s\n")
    else:
        rows = [("key", "made", "signs")]
        for key in bridge.run_in_loop(keys.with_session, url, keys.list_code_keys):
            signs = "now" if key.is_signing else f"from {key.signs_from:%F %T %Z}" if key.is_next else "no more"
            rows.append((str(key.id), f"{key.made_at:%F %T %Z}", signs))
        sys.stdout.write("\n".join([*table.lines(rows), ""]))
    return 0


def _audit(config: Config, options: argparse.Namespace) -> int:
    from flash import audit

    return audit.main(config, as_json=options.json, sale_id=options.sale)


def _config(config: Config, options: argparse.Namespace) -> int:
    from flash.audit import table

    for warning in config.warnings():
        sys.stderr.write(f"flash: warning: {warning}\n")
    if options.json:
        shown = {setting.variable: _plain(setting.shown(getattr(config, name))) for name, setting in settings()}
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
        return 0
    sys.stdout.write("\n".join([*table.lines(config.lines()), ""]))
    return 0


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _doctor(config: Config, _options: argparse.Namespace) -> int:
    from flash.local.doctor import doctor

    return doctor(config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flash",
        description="A flash-sale backend: every hour a sale of exactly 10,000 items, sold exactly once.",
        epilog=f"Settings are environment variables; `flash config` lists them with their values.\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"flash {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_processes(commands)
    _add_database_commands(commands)
    _add_advice(commands)
    return parser


def _add_processes(commands: Commands) -> None:
    up = _command(
        commands, "up", _up, "run the whole service on this machine",
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
    web = _command(
        commands, "web", _web, "serve HTTP",
        "Serve checkouts, purchases and what visitors read on FLASH_HOST:PORT, over HTTPS if FLASH_TLS_CERT and\n"
        "FLASH_TLS_KEY are set. WEB_CONCURRENCY processes share the port, and one that dies is restarted. After\n"
        "SIGTERM, the requests that were accepted are answered first.\n\n"
        "settings: DATABASE_URL, REDIS_URL (both needed), PORT, FLASH_HOST, FLASH_TLS_CERT, FLASH_TLS_KEY,\n"
        "          WEB_CONCURRENCY, FLASH_DRAIN_SECONDS",
        needs=("database_url", "redis_url"),
    )  # fmt: skip
    # what a process gets from its supervisor: the listening socket, and a pipe that closes with the supervisor
    web.add_argument("--shared", nargs=2, type=int, metavar=("SOCKET", "PIPE"), help=argparse.SUPPRESS)
    _command(
        commands, "inventory", _inventory, "run one inventory process",
        "Decide the purchases of sales and open new sales on time. Run as many as you like: each sale is led by the\n"
        "process that holds its lease, and another takes over if that one dies.\n\n"
        "settings: DATABASE_URL, REDIS_URL (both needed), FLASH_LEASE_TTL, FLASH_SALE_PERIOD, FLASH_SALE_SIZE",
        needs=("database_url", "redis_url"),
    )  # fmt: skip


def _add_database_commands(commands: Commands) -> None:
    migrate = _command(
        commands, "migrate", _migrate, "bring the schema up to date",
        "Apply the migrations that the database lacks. Repeating it, or running it twice at once, is safe. It may run\n"
        "as another role than the service, which then needs no rights on the schema.\n\n"
        "settings: DATABASE_URL (needed)",
        needs=("database_url",),
    )  # fmt: skip
    migrate.add_argument("--grant-to", metavar="ROLE", help="give this role the rights that the service needs")
    keys = _command(
        commands, "keys", _keys, "list, rotate or retire the keys of checkout codes",
        "Without an action, list the keys. `rotate` adds one, which signs new codes a few seconds later; codes that\n"
        "buyers hold stay valid. `retire ID` deletes one that signs no more, and its codes with it: after a leak at\n"
        "once, otherwise when FLASH_CODE_TTL has passed and nobody needs the receipts of its codes.\n"
        "The role of DATABASE_URL must own the tables.\n\n"
        "settings: DATABASE_URL (needed)",
        needs=("database_url",),
    )  # fmt: skip
    actions = keys.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("rotate", help="add a key that new codes get")
    actions.add_parser("retire", help="delete a key and its codes").add_argument("id", type=int, metavar="ID")
    audit = _command(
        commands, "audit", _audit, "prove from the database that nothing was oversold",
        "Check every sale: sold = purchases <= stock, no buyer over the limit, an earlier checkout for every\n"
        "purchase, no item or code sold twice, epochs never go back. Rows that break a rule are printed, and the exit\n"
        "code is 1.\n\n"
        "settings: DATABASE_URL (needed)",
        needs=("database_url",),
    )  # fmt: skip
    audit.add_argument("--json", action="store_true", help="print JSON, for programs")
    audit.add_argument("--sale", type=int, metavar="ID", help="check only this sale")


def _add_advice(commands: Commands) -> None:
    config = _command(
        commands, "config", _config, "show the effective settings",
        "Print every setting with its effective value and its meaning. Passwords are masked.",
    )  # fmt: skip
    config.add_argument("--json", action="store_true", help="print JSON, for programs")
    _command(
        commands, "doctor", _doctor, "check this machine and the stores for what would get in the way",
        "Check Python, the embedded stores, the data directory, the disk, the port, the stores of DATABASE_URL\n"
        "and REDIS_URL, and the system's limits. One line each; exit code 1 if one fails.",
    )  # fmt: skip


def _command(
    commands: Commands,
    name: str,
    run: Callable[[Config, argparse.Namespace], int],
    summary: str,
    description: str,
    needs: tuple[str, ...] = (),
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, needs=needs)
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: expected 0 to 65535")
    return int(text)
