"""The embedded stores of a data directory, found by a command that is not `flash up`: running or not, without a URL.

A PostgreSQL that does not run is started for as long as the command lasts.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from flash.config import Config
from flash.errors import OperatorError
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey, datadir
from flash.local.embedded.store import Store
from flash.local.procfile import PROJECT

_USUAL = Config().data_dir


def find_data_dir(config: Config) -> Path | None:
    """Where `flash up` has kept its data: FLASH_DATA_DIR, or else what `scripts/run` uses; None if it never ran."""
    places = [config.data_dir]
    if config.data_dir in (_USUAL, demo_dir(_USUAL)) and (PROJECT / "pyproject.toml").is_file():
        places.append(PROJECT / config.data_dir)
    return next((place.absolute() for place in places if (place / "lock").exists()), None)


def demo_dir(data_dir: Path) -> Path:
    """Where `flash up --demo` keeps its data: beside that of real sales."""
    return data_dir.with_name(f"{data_dir.name}-demo")


def running_pid(data_dir: Path | None) -> str | None:
    """The process that uses `data_dir`, if one does."""
    return None if data_dir is None else datadir.holder(data_dir)


@contextlib.contextmanager
def found_database(config: Config) -> Iterator[str]:
    """The URL of DATABASE_URL, or of the embedded PostgreSQL, which runs while the block lasts.

    Raises `ConfigError` if there is neither.
    """
    data_dir = None if config.database_url else find_data_dir(config)
    if data_dir is None:
        yield config.require("database_url")
    elif (pid := datadir.holder(data_dir)) is not None:
        _say(f"PostgreSQL of {data_dir}, which pid {pid} runs")
        yield running_database(data_dir, pid)
    else:
        with _started(data_dir) as url:
            yield url


def running_database(data_dir: Path, pid: str) -> str:
    """The URL of the embedded PostgreSQL that `pid` runs. Raises `OperatorError` if it does not answer."""
    postgres = EmbeddedPostgres(data_dir)
    _check_answers(postgres, pid, "DATABASE_URL")
    return postgres.url


def running_redis(data_dir: Path, pid: str) -> str:
    """The URL of the embedded Valkey that `pid` runs. Raises `OperatorError` if it does not answer."""
    valkey = EmbeddedValkey(data_dir)
    _check_answers(valkey, pid, "REDIS_URL")
    return valkey.url


def _check_answers(store: Store, pid: str, variable: str) -> None:
    store.settle()
    if not store.is_ready():
        raise OperatorError(
            f"`flash up` runs here (pid {pid}) without an embedded {store.name} that answers: "
            f"set {variable} to the one that it was given"
        )


@contextlib.contextmanager
def _started(data_dir: Path) -> Iterator[str]:
    with datadir.locked(data_dir):
        postgres = EmbeddedPostgres(data_dir)
        if not postgres.has_data():
            raise OperatorError(f"there is no PostgreSQL in {data_dir} yet: run `flash up`, or set DATABASE_URL")
        _say(f"PostgreSQL of {data_dir}, started for this command, since `flash up` does not run")
        try:
            postgres.start()
            yield postgres.url
        finally:
            postgres.stop()


def _say(text: str) -> None:
    sys.stderr.write(f"flash: {text}\n")
