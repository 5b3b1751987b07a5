"""The service under measurement: embedded stores in a temporary directory, web and inventory processes, constants.

What is measured is what `flash up` runs, without honcho between. Everything started here ends with its block.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import proc
from benchmarks.children import Child, Watch, child_environment
from flash.errors import OperatorError
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey, leftovers
from flash.local.embedded.store import last_line

Address = tuple[str, int]

_LISTENING = r"listening on (http://\S+)"
_SALE_PERIOD_SECONDS = "86400"
"""The cluster's own clock stays out of the way: `books` opens the sales that are measured."""


@dataclass(slots=True)
class Stores:
    """The stores of this run, and the directory that everything lies in."""

    folder: Path
    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey

    def check(self) -> None:
        for store in (self.postgres, self.valkey):
            if not store.is_running():
                raise OperatorError(f"{store.name} has died: {last_line(store.log)}")


@dataclass(slots=True)
class Cluster:
    """Running processes by name, and where the web ones listen. Without any it is somebody else's, at `--url`."""

    addresses: list[Address]
    children: list[Child] = field(default_factory=list)
    stores: Stores | None = None

    def usage(self) -> dict[str, proc.Usage]:
        """What every process has used so far; nothing where that cannot be known."""
        if not proc.is_measurable():
            return {}
        used = {child.name: proc.usage([child.pid]) for child in self.children}
        if self.stores is None:
            return used
        self.stores.check()
        postmaster = self.stores.postgres.pid
        family = [postmaster, *leftovers.descendants(postmaster)]
        used["PostgreSQL"] = proc.usage(family, with_ended_children=True)
        used["Valkey"] = proc.usage([self.stores.valkey.pid])
        return used


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    """A directory of ours with a short path (it holds sockets), removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="fb-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_stores(folder: Path, watch: Watch) -> Iterator[Stores]:
    """A PostgreSQL and a Valkey with the settings of `flash up`, empty."""
    stores = Stores(folder, EmbeddedPostgres(folder), EmbeddedValkey(folder))
    try:
        for store in (stores.postgres, stores.valkey):
            store.launch()
        for store in (stores.postgres, stores.valkey):
            store.wait_ready(keep_waiting=watch.keep_going)
        yield stores
    finally:
        stores.valkey.kill()  # nothing of it will be read again
        stores.postgres.stop()
        for place in (stores.postgres.cluster.parent, stores.postgres.socket_dir.parent):
            if place.name.startswith("flash-") and not place.is_relative_to(folder):
                shutil.rmtree(place, ignore_errors=True)  # where a store had to go that may not enter ours


@contextlib.contextmanager
def running_cluster(
    stores: Stores, watch: Watch, *, web: int, inventory: int, settings: Mapping[str, str]
) -> Iterator[Cluster]:
    """That many processes of each kind, ready."""
    env = child_environment(
        DATABASE_URL=stores.postgres.url,
        REDIS_URL=stores.valkey.url,
        PORT="0",
        FLASH_HOST="127.0.0.1",
        FLASH_SALE_PERIOD=_SALE_PERIOD_SECONDS,
        WEB_CONCURRENCY="1",
        **settings,
    )
    with _running(watch) as children:
        for kind, count in (("inventory", inventory), ("web", web)):
            for number in range(1, count + 1):
                children.append(Child(f"{kind}.{number}", ["-m", "flash", kind], stores.folder, env, talks=False))
        webs = [child for child in children if child.name.startswith("web")]
        addresses = [_address(child.wait_log(_LISTENING, watch)) for child in webs]
        yield Cluster(addresses, list(children), stores)


@contextlib.contextmanager
def running_constants(program: str, folder: Path, watch: Watch, *, count: int) -> Iterator[Cluster]:
    """`count` processes that answer a constant; `program` is one of those of `benchmarks.constant`."""
    with _running(watch) as children:
        for number in range(1, count + 1):
            words = ["-m", "benchmarks.constant", program]
            children.append(Child(f"{program}.{number}", words, folder, child_environment(), talks=False))
        yield Cluster([_address(child.wait_log(_LISTENING, watch)) for child in children], list(children))


@contextlib.contextmanager
def _running(watch: Watch) -> Iterator[list[Child]]:
    """Children that must not die while the block lasts, and that end with it."""
    children: list[Child] = []
    watch.children = children
    try:
        yield children
    finally:
        watch.children = []
        for child in children:
            child.process.terminate()
        for child in children:
            child.stop()


def _address(url: str) -> Address:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port
