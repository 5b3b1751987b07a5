"""PostgreSQL from its wheel, on a unix socket alone, with every setting that keeps commits durable.

It refuses to run as root or as a user without a name, so it may run as another user, who may not be able to reach our
binaries, data and sockets. Then copies are made and other places used; no existing directory's mode is changed.
"""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from flash.config import postgres_environment
from flash.errors import OperatorError
from flash.local.embedded import datadir, leftovers
from flash.local.embedded.binaries import copy_binaries, find_postgres
from flash.local.embedded.store import Store, ask, open_log
from flash.local.embedded.unprivileged import choose_run_as
from flash.processes.run_as import RunAs, ourselves

POSTGRES_VERSION = "18"
POSTGRES_SETTINGS = {
    # never traded for speed
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # not on the network, and only we may use the socket
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "192MB",
    # a checkpoint in the middle of a sale costs more than the disk that avoids it
    "checkpoint_timeout": "15min",
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    "wal_buffers": "16MB",
    # our statements are short: compiling them, or moving reads to other processes, costs more than it saves
    "jit": "off",
    "io_method": "sync",
    "autovacuum": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
}


class EmbeddedPostgres(Store):
    """A PostgreSQL cluster with one database, `flash`, created by the first start.

    `settings` are added to `POSTGRES_SETTINGS`. With `namespaces=False` it behaves as on a machine
    that refuses user namespaces.
    """

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": ends the sessions; SIGTERM would wait for them
    last_signal = signal.SIGQUIT  # "immediate": the next start recovers from the log

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] | None = None, namespaces: bool = True) -> None:
        super().__init__(data_dir)
        self._settings = {**POSTGRES_SETTINGS, **(settings or {})}
        self._run_as = ourselves()
        self._bin = find_postgres()
        self._namespaces = namespaces
        self.cluster = self.data_dir / "postgres"
        self.socket_dir = self.data_dir

    @property
    def url(self) -> str:
        # the port too: without it, PGPORT would name another socket
        return f"postgresql://flash@/flash?host={quote(str(self.socket_dir))}&port=5432"

    @property
    def run_as(self) -> RunAs:
        """The user that it runs as, once it has been started."""
        return self._run_as

    @property
    def home(self) -> Path:
        return self.cluster

    def has_data(self) -> bool:
        """Whether an earlier start has made the cluster."""
        with datadir.explained():
            self.settle()
        return self.cluster.exists()

    def prepare(self) -> None:
        """All that comes before the server, and takes seconds the first time. May run in another thread."""
        with datadir.explained():
            self.settle()
            leftovers.stop_server(self.cluster / "postmaster.pid", str(self.cluster), self.stop_signal)
            if not self.cluster.exists():
                self._make_cluster()
            self._check_version()
            datadir.give(self.cluster, self._run_as.owner)

    def launch(self) -> None:
        self.prepare()
        self._spawn(self._run_as, self.cluster, [str(self._bin / "postgres"), "-D", str(self.cluster), *self._flags()])

    def is_ready(self) -> bool:
        return ask(self.socket_dir / ".s.PGSQL.5432", _startup_packet("flash", "flash")).startswith(b"R")

    def settle(self) -> None:
        """Choose the user to run as, and places for binaries, data and sockets that this user can reach."""
        self._bin = find_postgres()
        run = datadir.socket_directory(self.data_dir)
        probe = [str(self._bin / "postgres"), "--version"]
        self._run_as = choose_run_as(run, probe, namespaces=self._namespaces)
        self.socket_dir = run
        away = Path("/var/tmp") / f"flash-0-{datadir.fingerprint(str(self.data_dir))}"
        if self._run_as.kind == "drop":
            self._settle_for_another_user(datadir.elsewhere(self.data_dir, away.parent, 0o711), probe)
        elif not self.cluster.exists() and (away / "postgres").exists():
            self.cluster = away / "postgres"  # where an earlier run had to put it

    def _settle_for_another_user(self, away: Path, probe: list[str]) -> None:
        self.socket_dir = self._given(away / "run")
        if not self._run_as.reaches(self.socket_dir, *probe):
            self._bin = copy_binaries(self._bin, away)
        with tempfile.TemporaryDirectory(prefix="probe-", dir=self.data_dir) as folder:
            if self._run_as.reaches(self._given(Path(folder))):
                return
        if self.cluster.is_relative_to(self.data_dir) and self.cluster.exists():
            raise OperatorError(
                f"PostgreSQL may not run as root, and its user may not enter {self.data_dir}: "
                "set FLASH_DATA_DIR to a directory that others may enter, or set DATABASE_URL"
            )
        self.cluster = away / "postgres"

    def _given(self, folder: Path) -> Path:
        folder.mkdir(0o700, exist_ok=True)
        datadir.give(folder, self._run_as.owner)
        return folder

    def _make_cluster(self) -> None:
        """Run initdb in a directory of another name, renamed once complete: a crash leaves no half-made cluster."""
        unfinished = self.cluster.with_name("postgres.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._given(unfinished)
        self._run("initdb", unfinished, *INITDB_FLAGS)
        self._run("postgres", unfinished, "--single", *self._flags(), "postgres", text="CREATE DATABASE flash\n")
        unfinished.rename(self.cluster)
        _sync_directory(self.cluster.parent)

    def _run(self, program: str, cluster: Path, *arguments: str, text: str = "") -> None:
        """Run one of PostgreSQL's programs on `cluster` and wait for it. `--single` must be its first argument."""
        switches = ["-D", str(cluster)]
        words = [*arguments[:1], *switches, *arguments[1:]] if arguments[0] == "--single" else [*switches, *arguments]
        with open_log(self.log) as log:
            done = subprocess.run(
                self._run_as.command(cluster, [str(self._bin / program), *words], signal.SIGKILL),
                input=text.encode(),
                stdout=log,
                stderr=log,
                env=postgres_environment(LC_ALL="C"),
                start_new_session=True,
                check=False,
            )
        if done.returncode != 0:
            shutil.rmtree(cluster, ignore_errors=True)
            raise OperatorError(f"PostgreSQL's data could not be created: {self.last_words()}")

    def _flags(self) -> list[str]:
        settings = {**self._settings, "unix_socket_directories": str(self.socket_dir)}
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _check_version(self) -> None:
        file = self.cluster / "PG_VERSION"
        found = file.read_text().strip() if file.exists() else "none"
        if found != POSTGRES_VERSION:
            raise OperatorError(
                f"{self.cluster} holds data of PostgreSQL {found}, the embedded one is {POSTGRES_VERSION}: "
                "move it away after a dump, or set FLASH_DATA_DIR to another directory"
            )


INITDB_FLAGS = (
    "--username=flash",
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--locale=C.UTF-8",
    "--auth=trust",  # only we can enter the socket's directory
    "--no-instructions",
)


def _startup_packet(user: str, database: str) -> bytes:
    """The first message of PostgreSQL's protocol 3.0; the answer begins with R when the session is welcome."""
    words = b"".join(word.encode() + b"\0" for word in ("user", user, "database", database)) + b"\0"
    return struct.pack("!ii", 8 + len(words), 196608) + words


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
