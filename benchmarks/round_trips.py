"""What a round trip to Valkey costs: the bare socket, and the service's client through the bridge. A program.

Also how long the disk takes to make 8 KB durable, which is what every commit waits for.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import trio

from benchmarks.stats import summary
from flash import bridge
from flash.stores.redis import call_redis, open_redis

_STREAM = "flash:bench"
_PAYLOAD = b"x" * 100
"""About the bytes of one command in an inbox entry."""
_SYNCS = 200


def bare(path: str, count: int) -> list[float]:
    """Seconds of each PING on a blocking unix socket."""
    taken = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(path)
        for _ in range(count):
            started = time.perf_counter()
            connection.sendall(b"PING\r\n")
            connection.recv(64)
            taken.append(time.perf_counter() - started)
    return taken


async def bridged(url: str, count: int) -> list[float]:
    """Seconds of each XADD of one small entry, from Trio, one crossing each."""
    taken = []
    async with bridge.open_loop(), open_redis(url, timeout_seconds=5) as client:
        for _ in range(count):
            started = time.perf_counter()
            await call_redis(client.xadd, _STREAM, {"b": _PAYLOAD})
            taken.append(time.perf_counter() - started)
        await call_redis(client.delete, _STREAM)
    return taken


def syncs(folder: Path, seconds_max: float) -> list[float]:
    """Seconds of each overwrite of 8 KB followed by fdatasync, in the file system of the stores."""
    sync = getattr(os, "fdatasync", os.fsync)
    taken: list[float] = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        os.write(file.fileno(), bytes(1 << 20))
        sync(file.fileno())
        until = time.perf_counter() + seconds_max
        while len(taken) < _SYNCS and time.perf_counter() < until:
            started = time.perf_counter()
            os.pwrite(file.fileno(), bytes(8192), 8192 * (len(taken) % 128))
            sync(file.fileno())
            taken.append(time.perf_counter() - started)
    return taken


def version(path: str) -> str:
    """What the server says it is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(path)
        connection.sendall(b"INFO server\r\n")
        lines = connection.recv(65536).decode(errors="replace").split("\r\n")
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    return found.get("valkey_version") or found.get("redis_version") or "unknown"


def measure(url: str, plan: Mapping[str, Any]) -> dict[str, Any]:
    path = unquote(urlsplit(url).path)
    return {
        "version": version(path),
        "ping": summary(bare(path, plan["count"])),
        "xadd_through_bridge": summary(trio.run(bridged, url, plan["count"])),
        "fdatasync": summary(syncs(Path(path).parent, plan["seconds"])),
    }


if __name__ == "__main__":
    result = measure(sys.argv[1], json.loads(sys.stdin.readline()))
    sys.stdout.write(json.dumps({"result": result}) + "\n")
