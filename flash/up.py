"""The whole service on one machine from one command: embedded stores, the schema, then the Procfile under honcho.

Whatever ends it (Ctrl-C, SIGTERM, a child's death, an error at start), honcho is stopped first and the stores last,
and nothing is left running.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from flash import datadir
from flash.config import Config, environment
from flash.embedded import EmbeddedPostgres, EmbeddedValkey, Store, last_line
from flash.errors import OperatorError
from flash.guise import ourselves

PROJECT = Path(__file__).resolve().parent.parent
CONCURRENCY = "web=2,inventory=2"
STOP_SECONDS = 3.0
"""How long the processes may take to drain before they are killed."""
GONE_SECONDS = 3.6
"""How long after the first signal the stores may still take for an orderly stop."""

_READY_SECONDS = 60.0
_SALE_SECONDS = 5.0
_POLL_SECONDS = 0.02


class Stopped(Exception):
    """Ctrl-C or a signal asked us to end."""


def up(config: Config, concurrency: str = CONCURRENCY, procfile: Path | None = None) -> int:
    """Run everything until it is told to stop (0), or until something dies by itself (`OperatorError`)."""
    wanted = parse_concurrency(concurrency)
    procfile = procfile or find_procfile()
    with Signals() as signals, contextlib.suppress(Stopped):
        config = with_free_ports(config, wanted.get("web", 1))
        data_dir = datadir.prepare(config.data_dir)
        with datadir.locked(data_dir):
            datadir.stop_orphan(_honcho_pid_file(data_dir), str(data_dir), signal.SIGTERM)
            with embedded_stores(config, data_dir, signals) as (config, stores):
                _migrate(config)
                signals.check()
                with Honcho(config, procfile, wanted, data_dir, signals) as honcho:
                    honcho.watch(stores, Announcement(config, wanted, stores, data_dir))
    say("Stopped.")
    return 0


def parse_concurrency(text: str) -> dict[str, int]:
    """`web=2,inventory=2` as a mapping, as honcho reads its `-c`."""
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): int(number) for name, number in pairs}
    except ValueError:
        raise OperatorError(f"-c {text}: expected something like {CONCURRENCY}") from None


def find_procfile() -> Path:
    for folder in (PROJECT, Path.cwd()):
        if (folder / "Procfile").is_file():
            return folder / "Procfile"
    raise OperatorError("there is no Procfile beside the package or in this directory: run from the project")


def say(text: str) -> None:
    """Print a line; nobody listening any more is no reason to stop the service."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


class Signals:
    """SIGINT, SIGTERM and SIGHUP as a flag and a wake-up instead of an exception, so that none breaks a cleanup."""

    def __init__(self) -> None:
        self.is_stopping = False
        self._stop_at = float("inf")
        self.wakeup, self._write_end = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(self._write_end, False)

    def __enter__(self) -> Signals:
        self._earlier = {
            number: signal.signal(number, self._note)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
        }
        self._earlier_wakeup = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._earlier_wakeup)
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        os.close(self.wakeup)
        os.close(self._write_end)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD and not self.is_stopping:
            self.is_stopping = True
            self._stop_at = time.monotonic() + GONE_SECONDS

    def check(self) -> None:
        """Raise `Stopped` if we were asked to end."""
        if self.is_stopping:
            raise Stopped

    def seconds_left(self) -> float:
        """How long the stores may take for an orderly stop."""
        return max(0.3, min(GONE_SECONDS, self._stop_at - time.monotonic()))

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self.wakeup, 512):
                pass


def with_free_ports(config: Config, count: int) -> Config:
    """`config` with a port that is free, and the `count - 1` after it; instance i of `web` gets port + i."""
    bases = [config.port] if config.port else [_any_port(config.host) for _ in range(20)]
    for base in bases:
        taken = [port for port in range(base, base + count) if not is_free(config.host, port)]
        if not taken:
            return replace(config, port=base)
    raise OperatorError(f"port {taken[0]} is taken on {config.host}: stop what uses it, or set PORT to another one")


def is_free(host: str, port: int) -> bool:
    """Whether one can listen there. Raises `OperatorError` if `host` is not an address of this machine."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
    except socket.gaierror:
        raise OperatorError(f"FLASH_HOST={host!r} is not an address of this machine") from None
    except OSError:
        return False
    return True


def _any_port(host: str) -> int:
    family, kind, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as listener:
        listener.bind(address)
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def embedded_stores(config: Config, data_dir: Path, signals: Signals) -> Iterator[tuple[Config, list[Store]]]:
    """Start the stores whose URLs are unset, both at once; `config` with their URLs. Stops them at the end."""
    stores: list[Store] = []
    try:
        if config.database_url is None:
            stores.append(postgres := EmbeddedPostgres(data_dir))
            postgres.launch()
            config = replace(config, database_url=postgres.url)
        if config.redis_url is None:
            stores.append(valkey := EmbeddedValkey(data_dir))
            valkey.launch()
            config = replace(config, redis_url=valkey.url)
        for store in stores:
            store.wait_ready(keep_waiting=signals.check)
        signals.check()
        yield config, stores
    finally:
        for store in stores:
            store.ask_to_stop()
        for store in stores:
            store.stop(signals.seconds_left())


def _migrate(config: Config) -> None:
    from flash.app import migrate

    migrate(config)


@dataclass(slots=True)
class Child:
    """One process of the Procfile, as honcho reports it."""

    pid: int
    returncode: int | None = None


_REPORT = re.compile(rb"^\d\d:\d\d:\d\d system +\| (\S+) (started|stopped) \((?:pid|rc)=(-?\d+)\)$")


class Honcho:
    """The Procfile under honcho, in its own session. Its output is passed on, and read for who started and stopped."""

    def __init__(
        self, config: Config, procfile: Path, wanted: dict[str, int], data_dir: Path, signals: Signals
    ) -> None:
        self.children: dict[str, Child] = {}
        self._expected = sum(wanted.values())
        self._signals = signals
        self._unfinished_line = b""
        pid_file = _honcho_pid_file(data_dir)
        concurrency = ",".join(f"{name}={number}" for name, number in wanted.items())
        # honcho would let a `.env` override the settings; the name of this missing one tells later runs whose it is
        no_env = data_dir / "run" / "no.env"
        arguments = ["start", "-d", str(procfile.parent), "-f", str(procfile), "-e", str(no_env)]
        arguments += ["-c", concurrency, "-p", str(config.port)]
        self._read_end, write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self.process = subprocess.Popen(
            ourselves().command(data_dir, [sys.executable, "-m", "honcho", *arguments], signal.SIGTERM),
            stdin=subprocess.DEVNULL,
            stdout=write_end,
            stderr=write_end,
            # honcho holds our end too: if we are killed, writing to nobody must not kill it before its children
            pass_fds=(self._read_end,),
            env=_child_environment(config),
            start_new_session=True,
        )
        os.close(write_end)
        pid_file.parent.mkdir(mode=0o700, exist_ok=True)
        pid_file.write_text(f"{self.process.pid}\n")

    def __enter__(self) -> Honcho:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything that honcho started, in an orderly way while there is time, then by force."""
        deadline = time.monotonic() + STOP_SECONDS
        # before all have started, honcho trips over SIGTERM and leaves those that have
        while len(self.children) < self._expected and self._is_alive() and time.monotonic() < deadline - 2:
            self._wait(0.05)
        if self._is_alive():
            self.process.terminate()
        while self._is_alive() and time.monotonic() < deadline:
            self._wait(min(0.1, max(0.0, deadline - time.monotonic())))
        self._kill_rest()
        self._pass_on()
        os.close(self._read_end)

    def watch(self, stores: list[Store], announce: Callable[[], bool]) -> None:
        """Pass the output on until `Stopped`. Raises `OperatorError` that names whatever died by itself."""
        until = time.monotonic() + _READY_SECONDS
        is_announced = False
        while True:
            self._wait(1.0 if is_announced else _POLL_SECONDS)
            self._signals.check()
            self._check(stores)
            if not is_announced:
                is_announced = announce()
                if time.monotonic() > until:
                    raise OperatorError(f"the service did not answer within {_READY_SECONDS:.0f} seconds")

    def _check(self, stores: list[Store]) -> None:
        for store in stores:
            if not store.is_running():
                raise OperatorError(f"{store.name} has died: {last_line(store.log)} (see {store.log})")
        for name, child in self.children.items():
            if child.returncode is not None:
                raise OperatorError(f"{name} has stopped by itself with exit code {child.returncode}; stopped the rest")
        if not self._is_alive():
            raise OperatorError(f"honcho has stopped by itself with exit code {self.process.returncode}")

    def _is_alive(self) -> bool:
        return self.process.poll() is None

    def _wait(self, seconds: float) -> None:
        """Sleep until there is output, a signal or a dead child, at most `seconds`."""
        ready, _, _ = select.select([self._read_end, self._signals.wakeup], [], [], seconds)
        self._signals.drain()
        if self._read_end in ready:
            self._pass_on()

    def _pass_on(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._read_end, 65536):
                self._read(chunk)

    def _read(self, chunk: bytes) -> None:
        *lines, self._unfinished_line = (self._unfinished_line + chunk).split(b"\n")
        for line in lines:
            if found := _REPORT.match(line):
                name, verb, number = found.group(1).decode(), found.group(2), int(found.group(3))
                if verb == b"started":
                    self.children[name] = Child(number)
                elif name in self.children:
                    self.children[name].returncode = number
            say(line.decode(errors="replace"))

    def _kill_rest(self) -> None:
        """Each child leads a process group of its own, so honcho's death alone would not reach it."""
        groups = [child.pid for child in self.children.values() if child.returncode is None]
        for group in [*groups, self.process.pid]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        self.process.wait()


class Announcement:
    """Says once, as soon as every web process answers, where the service is and how to buy."""

    def __init__(self, config: Config, wanted: dict[str, int], stores: list[Store], data_dir: Path) -> None:
        self._host, self._shown_host = _reachable(config.host)
        self._ports = [config.port + number for number in range(wanted.get("web", 1))]
        self._silent = list(self._ports)
        self._data = _where(stores, data_dir)
        self._until: float | None = None

    def __call__(self) -> bool:
        """Look whether everything is up and say so; False if it is not yet. Never blocks for long."""
        self._silent = [port for port in self._silent if _get(self._host, port, "/livez") is None]
        if self._silent:
            return False
        if self._until is None:
            self._until = time.monotonic() + _SALE_SECONDS
        sale = _get(self._host, self._ports[0], "/sales/current") if self._ports else None
        if sale is None and self._ports and time.monotonic() < self._until:
            return False
        say("\n".join(["", *self._lines(sale), ""]))
        return True

    def _lines(self, sale: bytes | None) -> Iterator[str]:
        addresses = [f"http://{self._shown_host}:{port}" for port in self._ports]
        if addresses:
            item = json.loads(sale).get("first_item_id", 1) if sale else 1
            checkout = f"curl -sX POST '{addresses[0]}/checkout?user_id=me&id={item}'"
            yield f"  serving   {'  '.join(addresses)}"
            yield f"  checkout  {checkout}"
            yield (
                f'  purchase  CODE=$({checkout} | sed -E \'s/.*"code" *: *"([^"]+)".*/\\1/\'); '
                f'curl -sX POST "{addresses[0]}/purchase?code=$CODE"'
            )
        yield f"  data      {self._data}"
        yield "  stop      Ctrl-C"


def _reachable(host: str) -> tuple[str, str]:
    """The address to connect to when the service listens on `host`, and how to write it in a URL."""
    if host in ("127.0.0.1", "0.0.0.0", "localhost"):
        return "127.0.0.1", "localhost"
    if host in ("::", "::1"):
        return "::1", "localhost"
    return host, f"[{host}]" if ":" in host else host


def _where(stores: list[Store], data_dir: Path) -> str:
    places = {store.home.parent for store in stores}
    if not places:
        return "in the PostgreSQL and Redis of DATABASE_URL and REDIS_URL"
    return ", ".join(f"{store.home} ({store.name})" for store in stores) if places != {data_dir} else str(data_dir)


def _get(host: str, port: int, path: str) -> bytes | None:
    """The body of a 200; None for anything else."""
    connection = http.client.HTTPConnection(host, port, timeout=0.5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if response.status == 200 else None


def _honcho_pid_file(data_dir: Path) -> Path:
    return data_dir / "log" / "honcho.pid"


def _child_environment(config: Config) -> dict[str, str]:
    """`python` in the Procfile must be ours, and must find our package wherever it is started."""
    assert config.database_url is not None
    assert config.redis_url is not None
    inherited = environment()
    return {
        **inherited,
        "DATABASE_URL": config.database_url,
        "REDIS_URL": config.redis_url,
        "PORT": str(config.port),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), inherited.get("PATH", os.defpath))),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(PROJECT), inherited.get("PYTHONPATH")))),
        "PYTHONUNBUFFERED": "1",
    }
