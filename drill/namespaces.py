"""Each process on a host of its own: a network namespace, joined by a cable (veth) to a switch (bridge).

All of it lives in a namespace that the drill itself moves into first, so the machine's own network is never touched,
and whatever ends the drill ends the network: the kernel removes a namespace together with the last process in it. Needs
Linux and root. Namespaces have no names (`ip netns`), which would outlive us.

Nothing is cut by a firewall, which not every kernel has: whoever is cut off believes the other to be at a hardware
address that nobody has, so what is sent is lost on the way, silently and in that direction only.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from drill.network import NAMESPACES, POSTGRES, REDIS, STORES
from drill.proxy import ANSWERS, REQUESTS
from flash.errors import OperatorError

PORTS = {POSTGRES: 5432, REDIS: 6379}
_CLONE_NEWNET = 0x40000000
_NOBODY = "02:00:00:00:00:01"
_SWITCH, _PREFIX, _HOSTS_MAX = "switch", "10.77", 60_000
_OURS = "/proc/thread-self/ns/net"
_TRIAL = "ip link add trial0 type veth peer name trial1 && ip link add trial2 type bridge"


def why_not() -> str | None:
    """Why this machine allows no namespaces, or None if it does. Tries it in a process of its own."""
    if not sys.platform.startswith("linux"):
        return "network namespaces need Linux"
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        trial = ["unshare", "--net", "sh", "-c", _TRIAL]
        done = subprocess.run(trial, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"network namespaces need unshare and ip: {error}"
    return f"this machine makes no network: {done.stderr.strip()}" if done.returncode else None


def move_into_own() -> None:
    """Put this process, and all that it starts from now on, into a network of its own. Call it before any thread is."""
    _call("unshare", _CLONE_NEWNET)
    _ip("link set lo up")


class Namespace:
    """One machine with one cable, whose other end is in the switch."""

    def __init__(self, number: int) -> None:
        self.address = f"{_PREFIX}.{number // 250}.{number % 250 + 1}"
        self._file, self._interface = _new_namespace(), f"eth{number}"
        cable = f"cable{number}"
        new = f"link add {cable} type veth peer name {self._interface} netns /proc/self/fd/{self._file}"
        _ip(new, pass_fds=[self._file])
        _ip(f"link set {cable} master {_SWITCH} up")
        with self.entered():
            _ip("link set lo up")
            _ip(f"address add {self.address}/16 dev {self._interface}")
            _ip(f"link set {self._interface} up")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """What this thread starts or opens within the block is there. Nothing in the block may wait."""
        with _opened(_OURS) as back:
            _call("setns", self._file, _CLONE_NEWNET)
            try:
                yield
            finally:
                _call("setns", back, _CLONE_NEWNET)

    @contextmanager
    def deaf_to(self, address: str) -> Iterator[None]:
        """What is sent from here to `address` is lost within the block."""
        with self.entered():
            _ip(f"neighbour replace {address} lladdr {_NOBODY} nud permanent dev {self._interface}")
        try:
            yield
        finally:
            with self.entered():
                _ip(f"neighbour del {address} dev {self._interface}")

    def close(self) -> None:
        """Its processes have ended: the kernel removes it, and its cable."""
        os.close(self._file)


class _Cable:
    """The way of one host to one store."""

    def __init__(self, host: Namespace, store: Namespace, port: int) -> None:
        self.address = f"{store.address}:{port}"
        self._host, self._store = host, store

    @contextmanager
    def held(self, *directions: str) -> Iterator[None]:
        with ExitStack() as stack:
            if REQUESTS in directions:
                stack.enter_context(self._host.deaf_to(self._store.address))
            if ANSWERS in directions:
                stack.enter_context(self._store.deaf_to(self._host.address))
            yield


class NamespaceHost:
    """A host, and its ways to the stores."""

    def __init__(self, place: Namespace, stores: Mapping[str, Namespace]) -> None:
        self.address = place.address
        self.ways = {store: _Cable(place, stores[store], PORTS[store]) for store in STORES}
        self._place = place

    def entered(self) -> AbstractContextManager[None]:
        return self._place.entered()

    async def close(self) -> None:
        self._place.close()


class NamespaceNetwork:
    """A switch with a host for each store. `move_into_own` must have been called; buyers are here, at the switch."""

    kind = NAMESPACES
    everybody = f"{_PREFIX}.0.0/16"

    def __init__(self) -> None:
        self._hosts = 0
        _ip(f"link add {_SWITCH} type bridge")
        _ip(f"address add {_PREFIX}.255.254/16 dev {_SWITCH}")
        _ip(f"link set {_SWITCH} up")
        self.stores = {store: self._add() for store in STORES}

    def add_host(self) -> NamespaceHost:
        return NamespaceHost(self._add(), self.stores)

    def at_store(self, store: str) -> AbstractContextManager[None]:
        return self.stores[store].entered()

    def address_of(self, store: str) -> str:
        return self.stores[store].address

    def _add(self) -> Namespace:
        self._hosts += 1
        assert self._hosts < _HOSTS_MAX, "no address is left"
        return Namespace(self._hosts)


@contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _new_namespace() -> int:
    """A descriptor that keeps a new one. This thread is back where it was when this returns."""
    with _opened(_OURS) as back:
        _call("unshare", _CLONE_NEWNET)
        try:
            return os.open(_OURS, os.O_RDONLY)
        finally:
            _call("setns", back, _CLONE_NEWNET)


def _call(name: str, *arguments: int) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name} was refused")


def _ip(arguments: str, pass_fds: Sequence[int] = ()) -> None:
    done = subprocess.run(["ip", *arguments.split()], capture_output=True, text=True, check=False, pass_fds=pass_fds)
    if done.returncode:
        raise OperatorError(f"ip {arguments}: {done.stderr.strip()}")
