"""Real stores for tests: how the fixtures of conftest.py start, fill and remove them. No fakes here."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from flash.config import postgres_environment
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey, find_postgres

SCHEMA = Path(__file__).resolve().parents[2] / "schema.sql"

parent_directory: Path | None = None
"""Where private directories are made, if not where all temporary files are. tests/conftest.py sets it."""

_numbers = itertools.count(1)


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    """A 0700 directory with a short path, since it holds sockets. Removed at the end: clusters are too big to keep."""
    folder = Path(tempfile.mkdtemp(prefix="ft-", dir=parent_directory))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_postgres(**settings: str) -> Iterator[EmbeddedPostgres]:
    """A new PostgreSQL whose database `flash` is empty. `settings` are passed to the server.

    Its shared memory lies with its data: it is killed in the end, and would leave a megabyte in /dev/shm each time.
    """
    with private_directory() as folder:
        server = EmbeddedPostgres(folder, settings={"dynamic_shared_memory_type": "mmap", **settings})
        try:
            server.start()
            yield server
        finally:
            server.kill()


def running_valkey(**settings: str) -> contextlib.AbstractContextManager[EmbeddedValkey]:
    """A new, empty Valkey. `settings` are passed to the server."""
    return running_server(settings)


@contextlib.contextmanager
def running_server(settings: Mapping[str, str], binary: Path | None = None) -> Iterator[EmbeddedValkey]:
    """The same, or another server that does what Valkey does."""
    with private_directory() as folder:
        server = EmbeddedValkey(folder, settings=settings, binary=binary)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@contextlib.contextmanager
def fresh_database(server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a new database, a copy of `flash`. Sessions still open at the end are terminated."""
    name = f"test_{next(_numbers)}"
    psql(server, f"CREATE DATABASE {name} TEMPLATE flash")
    try:
        yield server.url.replace("/flash?", f"/{name}?")
    finally:
        if server.is_running():
            psql(server, f"DROP DATABASE {name} WITH (FORCE)")


def apply_schema(server: EmbeddedPostgres) -> None:
    """Run schema.sql in the database `flash`."""
    psql(server, SCHEMA.read_text(), database="flash")


def psql(server: EmbeddedPostgres, sql: str, *, database: str = "postgres") -> str:
    """Run `sql` and return its output: one line a row, fields separated by `|`."""
    done = subprocess.run(
        [find_postgres() / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", server.socket_dir, "-U", "flash", database],
        input=sql,
        capture_output=True,
        text=True,
        env=postgres_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
