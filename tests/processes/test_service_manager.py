"""What real processes tell systemd, heard on a real datagram socket: when ready, while the loop runs, when stopping."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from flash.local.embedded import EmbeddedValkey
from flash.processes.service_manager import ServiceManager
from flash.testing.cluster import running_cluster

READ_BYTES = 4_096


@contextmanager
def notified(address: str) -> Iterator[socket.socket]:
    """The socket that NOTIFY_SOCKET=`address` names."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + address[1:] if address.startswith("@") else address)
        receiver.setblocking(False)
        yield receiver


async def heard_until(receiver: socket.socket, last: bytes) -> list[bytes]:
    heard: list[bytes] = []
    with trio.fail_after(20):
        while not heard or heard[-1] != last:
            await trio.lowlevel.wait_readable(receiver)
            heard.append(receiver.recv(READ_BYTES))
    return heard


def received(receiver: socket.socket) -> list[bytes]:
    heard = []
    while True:
        try:
            heard.append(receiver.recv(READ_BYTES))
        except BlockingIOError:
            return heard


@pytest.mark.parametrize("command", ["web", "inventory"])
async def test_a_process_says_when_it_is_ready_that_it_lives_and_that_it_stops(
    postgres: str, valkey: EmbeddedValkey, tmp_path: Path, command: str
) -> None:
    address = str(tmp_path / "notify")
    with notified(address) as receiver:
        async with running_cluster(postgres, valkey.url, NOTIFY_SOCKET=address) as (cluster, _):
            process = await cluster.start(command, WATCHDOG_USEC="100000")
            before = await heard_until(receiver, b"READY=1")
            assert set(before) <= {b"WATCHDOG=1", b"READY=1"}
            for _ in range(2):
                await heard_until(receiver, b"WATCHDOG=1")
            process.terminate()
            assert b"READY=1" not in await heard_until(receiver, b"STOPPING=1")
            assert await process.wait() == 0


async def test_copies_are_ready_and_their_supervisor_lives_and_stops(
    postgres: str, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    address = str(tmp_path / "notify")
    with notified(address) as receiver:
        async with running_cluster(postgres, valkey.url, NOTIFY_SOCKET=address) as (cluster, _):
            web = await cluster.start("web", WEB_CONCURRENCY="2")
            await heard_until(receiver, b"READY=1")
            await heard_until(receiver, b"READY=1")
            web.terminate()
            assert await web.wait() == 0
        assert Counter(received(receiver)) == {b"STOPPING=1": 1}


async def test_signs_of_life_come_twice_as_often_as_asked_for(autojump_clock: MockClock, tmp_path: Path) -> None:
    address = f"@flash-test-{os.getpid()}"
    with notified(address) as receiver:
        manager = ServiceManager.of({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "10000000"})
        with trio.move_on_after(24):
            await manager.keep_alive()
        assert received(receiver) == [b"WATCHDOG=1"] * 5


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "/nowhere"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "0"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
)
async def test_without_a_watchdog_of_ours_there_are_no_signs_of_life(
    env: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    await ServiceManager.of(env).keep_alive()
    assert caplog.messages == []


def test_a_service_manager_that_is_gone_is_a_warning_and_one_that_is_stuck_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ServiceManager(str(tmp_path / "gone"), None).ready()
    assert "systemd was not told READY=1: " in caplog.text
    with notified(str(tmp_path / "stuck")):
        manager = ServiceManager(str(tmp_path / "stuck"), None)
        for _ in range(10_000):
            manager.stopping()
    assert "systemd was not told STOPPING=1: " in caplog.text
