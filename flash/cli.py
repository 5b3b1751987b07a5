"""The command line: which command does what, and what its exit code says. Nothing heavy is imported early.

A wrong setting or something on this machine that is in the way is one message on stderr, never a traceback.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from flash.config import Config, mask, settings
from flash.errors import ConfigError, FlashError

EXIT_CODES = """exit codes:
  0  done, or stopped as asked
  1  something was in the way or has failed (the message says what)
  2  wrong usage or wrong settings (all of them are named)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = _parser().parse_args(arguments)
    options.arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        config = Config.from_env()
        for name in options.needs:
            _require(config, name)
        code: int = options.run(config, options)
    except ConfigError as error:
        return _report(str(error), 2)
    except FlashError as error:
        return _report(str(error), 1)
    except BaseExceptionGroup as group:  # Trio wraps what a nursery's block raises
        if group.split(FlashError)[1] is not None:
            raise
        return _report(str(_first(group)), 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stdout = None  # whoever read our output has gone: nothing to flush
        return 0
    return code


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _report(text: str, code: int) -> int:
    for line in text.splitlines():
        sys.stderr.write(f"flash: {line}\n")
    return code


def _require(config: Config, name: str) -> None:
    if getattr(config, name) is None:
        setting = dict(settings())[name]
        raise ConfigError(
            f"{setting.variable} is not set: run `flash up`, which starts the stores itself, "
            f"or set it to {setting.expected}"
        )


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


def _migrate(config: Config, _options: argparse.Namespace) -> int:
    from flash.stores.migration import migrate

    migrate(config)
    return 0


def _audit(config: Config, options: argparse.Namespace) -> int:
    from flash import audit

    return audit.main(config, as_json=options.json, sale_id=options.sale)


def _config(config: Config, options: argparse.Namespace) -> int:
    if options.json:
        shown = {setting.variable: _plain(getattr(config, name)) for name, setting in settings()}
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
        return 0
    lines = config.lines()
    widths = [max(len(line[column]) for line in lines) for column in (0, 1)]
    for variable, value, meaning in lines:
        sys.stdout.write(f"{variable:<{widths[0]}}  {value:<{widths[1]}}  {meaning}\n")
    return 0


def _plain(value: object) -> object:
    return mask(value) if isinstance(value, str) else str(value) if isinstance(value, Path) else value


def _doctor(config: Config, _options: argparse.Namespace) -> int:
    from flash.local.doctor import doctor

    return doctor(config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flash",
        description="A flash-sale backend: every hour a sale of exactly 10,000 items, sold exactly once.",
        epilog=f"All settings are environment variables; `flash config` shows them.\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    up = _command(
        commands, "up", _up, "run the whole service on this machine",
        "Start an embedded PostgreSQL and Valkey for whichever of DATABASE_URL and REDIS_URL is unset, apply the\n"
        "schema, run the processes of the Procfile, and print how to buy. What dies is started again; what keeps\n"
        "dying ends everything with exit code 1. Ctrl-C or SIGTERM stops everything.\n\n"
        "settings: PORT (8080; web process i listens on PORT + i), FLASH_HOST, FLASH_DATA_DIR (.flash),\n"
        "          FLASH_SALE_PERIOD, FLASH_SALE_SIZE, NO_COLOR (if set, no colours)",
    )  # fmt: skip
    up.add_argument(
        "-c", "--concurrency", metavar="web=N,inventory=M", help="how many processes of each kind (web=1,inventory=2)"
    )
    up.add_argument("-p", "--port", type=_port, help="port of the first web process, instead of PORT")
    up.add_argument("-f", "--procfile", type=Path, help="instead of ./Procfile, or the packaged one if there is none")
    web = _command(
        commands, "web", _web, "serve HTTP",
        "Serve HTTP on FLASH_HOST:PORT: checkouts, purchases, pages. WEB_CONCURRENCY processes share the port; one\n"
        "that dies is restarted. SIGTERM answers what was accepted, then ends.\n\n"
        "settings: DATABASE_URL, REDIS_URL (both needed), PORT, FLASH_HOST, WEB_CONCURRENCY, FLASH_DRAIN_SECONDS",
        needs=("database_url", "redis_url"),
    )  # fmt: skip
    # what a process gets from its supervisor: the listening socket and a pipe that ends with it
    web.add_argument("--shared", nargs=2, type=int, metavar=("SOCKET", "PIPE"), help=argparse.SUPPRESS)
    _command(
        commands, "inventory", _inventory, "run one inventory process",
        "Lead the sales whose leases it wins, decide their purchases, and open the next sale on time.\n\n"
        "settings: DATABASE_URL, REDIS_URL (both needed), FLASH_LEASE_TTL, FLASH_SALE_PERIOD, FLASH_SALE_SIZE",
        needs=("database_url", "redis_url"),
    )  # fmt: skip
    _command(
        commands, "migrate", _migrate, "apply the schema",
        "Apply schema.sql; running it again, or twice at once, does no harm.\n\nsettings: DATABASE_URL (needed)",
        needs=("database_url",),
    )  # fmt: skip
    audit = _command(
        commands, "audit", _audit, "prove from the database that nothing was oversold",
        "Check every sale: sold = purchases <= stock, nobody over the limit, every purchase has an earlier\n"
        "checkout, no item or code twice, epochs never go back. Exit code 1 with the rows that break a rule.\n\n"
        "settings: DATABASE_URL (needed)",
        needs=("database_url",),
    )  # fmt: skip
    audit.add_argument("--json", action="store_true", help="for programs instead of people")
    audit.add_argument("--sale", type=int, metavar="ID", help="this sale only")
    config = _command(
        commands, "config", _config, "show the effective settings",
        "Print every setting with its effective value, passwords masked. Wrong ones are all named at once.",
    )  # fmt: skip
    config.add_argument("--json", action="store_true", help="for programs instead of people")
    _command(
        commands, "doctor", _doctor, "check this machine and the stores for what would get in the way",
        "Check Python, the embedded stores, the data directory, the disk, the port, the stores of DATABASE_URL\n"
        "and REDIS_URL, and the system's limits. One line each; exit code 1 if one fails.",
    )  # fmt: skip
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
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
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port
