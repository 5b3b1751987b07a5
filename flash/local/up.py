"""The whole service on one machine from one command: embedded stores, the schema, then the Procfile under honcho.

Whatever ends it (Ctrl-C, SIGTERM, a child's death, an error at start), honcho is stopped first and the stores last,
and nothing is left running.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from flash.config import Config
from flash.errors import OperatorError
from flash.local.announcement import Announcement
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey, datadir
from flash.local.embedded.store import Store
from flash.local.procfile import PROJECT, Honcho, honcho_pid_file, say
from flash.local.signals import Signals, Stopped

CONCURRENCY = "web=1,inventory=2"


def up(config: Config, concurrency: str = CONCURRENCY, procfile: Path | None = None) -> int:
    """Run everything until it is told to stop (0), or until something dies by itself (`OperatorError`)."""
    wanted = parse_concurrency(concurrency)
    procfile = procfile or find_procfile()
    with Signals() as signals, contextlib.suppress(Stopped):
        config = with_free_ports(config, wanted.get("web", 1))
        data_dir = datadir.prepare(config.data_dir)
        with datadir.locked(data_dir):
            datadir.stop_orphan(honcho_pid_file(data_dir), str(data_dir), signal.SIGTERM)
            with embedded_stores(config, data_dir, signals) as (config, stores):
                _migrate(config)
                signals.check()
                with signals.waking(), Honcho(config, procfile, wanted, data_dir, signals) as honcho:
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


def with_free_ports(config: Config, count: int) -> Config:
    """`config` with a port that is free, and the `count - 1` after it; instance i of `web` gets port + i."""
    bases = [config.port] if config.port else [any_port(config.host) for _ in range(20)]
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


def any_port(host: str) -> int:
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
    from flash import bridge
    from flash.stores.migration import migrate

    bridge.run_in_loop(migrate, config.require("database_url"))
