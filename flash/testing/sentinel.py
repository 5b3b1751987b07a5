"""Real servers that replicate and real Sentinels that watch them, on this machine's loopback, for tests and drills.

The Sentinels are quicker than they are outside: they miss a primary after 300 ms, and look at everything more often.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from flash.local.embedded import EmbeddedValkey, find_valkey
from flash.local.embedded.store import Store, ask
from flash.local.ports import any_port
from flash.processes.run_as import ourselves
from flash.testing.stores import private_directory, running_server

NAME = "flash-test"
_DOWN_AFTER_MS = 300
_FAILOVER_TIMEOUT_MS = 2_000
# Far more often than by default, so that a Sentinel knows the others, and what has become of a replica, at once.
_PERIODS_MS = {"info-period": 200, "ask-period": 100, "publish-period": 200}
_LOOPBACK = "127.0.0.1"


class Sentinel(Store):
    """One Sentinel. It keeps what it learns in its own configuration, as Sentinels do."""

    name = "Sentinel"
    stop_signal = signal.SIGTERM

    def __init__(self, data_dir: Path, watched_port: int, quorum: int, *, binary: Path | None = None) -> None:
        super().__init__(data_dir)
        self.port = any_port(_LOOPBACK)
        self._binary = binary or find_valkey()
        self._file = self.data_dir / "sentinel.conf"
        self._socket = self.data_dir / "sentinel.sock"
        lines = [
            f"port {self.port}",
            f"bind {_LOOPBACK}",
            f"unixsocket {self._socket}",
            f"dir {self.data_dir}",
            f"sentinel monitor {NAME} {_LOOPBACK} {watched_port} {quorum}",
            f"sentinel down-after-milliseconds {NAME} {_DOWN_AFTER_MS}",
            f"sentinel failover-timeout {NAME} {_FAILOVER_TIMEOUT_MS}",
        ]
        self._file.write_text("".join(f"{line}\n" for line in lines))

    @property
    def home(self) -> Path:
        return self.data_dir

    def launch(self) -> None:
        self._spawn(ourselves(), self.home, [str(self._binary), str(self._file), "--sentinel"])

    def is_ready(self) -> bool:
        return ask(self._socket, b"PING\r\n").startswith(b"+PONG")

    def tell(self, *command: object) -> Any:
        """The answer to one command."""
        return _tell(self._socket, *command)

    def fail_over(self) -> bool:
        """Have it replace the primary, as an operator does. False if it does not know yet that a replica is fit."""
        try:
            self.tell("SENTINEL", "FAILOVER", NAME)
        except redis.ResponseError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SentinelGroup:
    """Servers, the first of which was the primary in the beginning, and the Sentinels that watch them."""

    servers: Sequence[EmbeddedValkey]
    sentinels: Sequence[Sentinel]

    @property
    def url(self) -> str:
        hosts = ",".join(f"{_LOOPBACK}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{NAME}"

    def is_whole(self) -> bool:
        """Whether every server and Sentinel is there, in step, and known to the Sentinels."""
        roles = [role_of(server) for server in self.servers]
        in_step = [role for role in roles if role[:1] == [b"slave"] and role[3] == b"connected"]
        if [b"master"] not in [role[:1] for role in roles] or len(in_step) != len(roles) - 1:
            return False
        return all(self._is_content(sentinel) for sentinel in self.sentinels)

    def _is_content(self, sentinel: Sentinel) -> bool:
        """Whether it knows all the others, and has nothing to say against any server."""
        flat = sentinel.tell("SENTINEL", "MASTER", NAME)
        known = dict(zip(flat[::2], flat[1::2], strict=True))
        others = sentinel.tell("SENTINEL", "REPLICAS", NAME)
        flags = [dict(zip(one[::2], one[1::2], strict=True))[b"flags"] for one in others]
        return (
            known[b"flags"] == b"master"
            and int(known[b"num-other-sentinels"]) == len(self.sentinels) - 1
            and flags == [b"slave"] * (len(self.servers) - 1)
        )


def tell(server: EmbeddedValkey, *command: object) -> Any:
    """The server's answer to one command. Raises `redis.RedisError`."""
    return _tell(server.socket, *command)


def _tell(socket: Path, *command: object) -> Any:
    with redis.Redis(unix_socket_path=str(socket), protocol=2, socket_timeout=0.5) as client:
        return client.execute_command(*map(str, command))


def role_of(server: EmbeddedValkey) -> list[Any]:
    """What it says that it is, by ROLE; empty if it is not there."""
    try:
        answer: list[Any] = tell(server, "ROLE")
    except redis.RedisError:
        return []
    return answer


def is_primary(server: EmbeddedValkey) -> bool:
    return role_of(server)[:1] == [b"master"]


@contextlib.contextmanager
def running_sentinel_group(
    *, sentinels: int = 3, binary: Path | None = None, **settings: str
) -> Iterator[SentinelGroup]:
    """A primary with one replica and that many Sentinels. `settings` are passed to both servers.

    They may still be getting to know each other: wait for `is_whole`.
    """
    with contextlib.ExitStack() as stack:
        ports = [any_port(_LOOPBACK) for _ in range(2)]
        quick = {"bind": _LOOPBACK, "repl-diskless-sync-delay": "0", **settings}
        servers = [stack.enter_context(running_server({**quick, "port": str(port)}, binary)) for port in ports]
        tell(servers[1], "REPLICAOF", _LOOPBACK, ports[0])
        watching = [
            Sentinel(stack.enter_context(private_directory()), ports[0], sentinels // 2 + 1, binary=binary)
            for _ in range(sentinels)
        ]
        for sentinel in watching:
            stack.callback(sentinel.kill)
            sentinel.launch()
        for sentinel in watching:
            sentinel.wait_ready()
            sentinel.tell("SENTINEL", "DEBUG", *(word for period in _PERIODS_MS.items() for word in period))
        yield SentinelGroup(servers, watching)
