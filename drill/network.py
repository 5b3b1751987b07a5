"""How processes reach the stores, and buyers the processes: each process is a host with its own way to each store.

Here all of them are on 127.0.0.1, and a host's ways are proxies of its own. `drill.namespaces` is the other network.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

import trio

from drill.proxy import Link

REDIS, POSTGRES = "Redis", "PostgreSQL"
STORES = (REDIS, POSTGRES)
PROXY, NAMESPACES = "proxy", "namespaces"
"""The networks, as `--network` calls them."""


class Way(Protocol):
    """From one host to one store, which has this address there."""

    @property
    def address(self) -> str: ...

    def held(self, *directions: str) -> AbstractContextManager[None]:
        """Nothing gets through in `directions` (REQUESTS, ANSWERS) within the block."""


class Host(Protocol):
    """Where one process runs. `ways` are by store."""

    @property
    def address(self) -> str:
        """Where its web process listens, without a port."""

    @property
    def ways(self) -> Mapping[str, Way]: ...

    def entered(self) -> AbstractContextManager[None]:
        """What is started within the block runs there."""

    async def close(self) -> None:
        """Its process has ended for good. What is under way is still delivered."""


class Network(Protocol):
    """`kind` is how `--network` calls it."""

    @property
    def kind(self) -> str: ...

    def add_host(self) -> Host:
        """One more, which reaches both stores."""

    def at_store(self, store: str) -> AbstractContextManager[None]:
        """A store that is started within the block runs where the hosts look for it."""


class LocalHost:
    """A process of this machine, with two proxies of its own."""

    address = "127.0.0.1"

    def __init__(self, sockets: Mapping[str, Path], nursery: trio.Nursery) -> None:
        self._links = {store: Link(sockets[store], nursery) for store in STORES}
        self.ways: Mapping[str, Way] = self._links

    def entered(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def close(self) -> None:
        for link in self._links.values():
            await link.close()


class LocalNetwork:
    """`sockets` are those of the stores, and `nursery` runs the proxies."""

    kind = PROXY

    def __init__(self, sockets: Mapping[str, Path], nursery: trio.Nursery) -> None:
        self._sockets, self._nursery = sockets, nursery

    def add_host(self) -> LocalHost:
        return LocalHost(self._sockets, self._nursery)

    def at_store(self, store: str) -> AbstractContextManager[None]:
        return nullcontext()
