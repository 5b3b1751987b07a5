"""The Procfile under plain honcho, on given stores: no `flash up`, no schema, nothing prepared."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from pathlib import Path

import trio

from flash.config import environment
from flash.local.embedded import EmbeddedValkey
from flash.processes.child import Child
from flash.shutdown import HONCHO_KILL_SECONDS
from flash.testing.client import Client
from flash.testing.cluster import ROOT
from tests.cluster.history import History, verify
from tests.cluster.test_calendar import buy, connected, rows


async def test_two_webs_and_two_inventories_serve_an_empty_database_and_sigterm_ends_them_all(
    postgres: str, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    async with connected(postgres) as connection:
        await rows(connection, "DROP SCHEMA public CASCADE")
        await rows(connection, "CREATE SCHEMA public")
    port = _free_ports()
    log = tmp_path / "honcho.log"
    with log.open("wb") as output:
        honcho = Child(
            "honcho",
            [sys.executable, "-m", "honcho", "start", "-f", "Procfile", "-c", "web=2,inventory=2"],
            directory=ROOT,
            env=environment(
                DATABASE_URL=postgres,
                REDIS_URL=valkey.url,
                PORT=str(port),
                PATH=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
                PYTHONPATH=str(ROOT),
                PYTHONUNBUFFERED="1",
                FLASH_SALE_SIZE="2",
            ),
            stdout=output,
            stderr=output,
            own_session=True,
        )
    addresses = [f"http://127.0.0.1:{port + n}" for n in (0, 1)]
    history = History()
    try:
        with trio.fail_after(30):
            while log.read_text().count("ready to lead") < 2 or log.read_text().count("listening on") < 2:
                assert honcho.poll() is None, log.read_text()
                await trio.sleep(0.05)
            assert all(f"listening on {address}" in log.read_text() for address in addresses)
            for item, (one, other) in ((1, addresses), (2, addresses[::-1])):
                async with Client(one) as here, Client(other) as there:
                    # the sale may have been made since the last look
                    with trio.fail_after(10):
                        while (await here.get("/health")).status != 200:
                            await trio.lowlevel.checkpoint()
                    assert (await here.get("/health")).json() == {"status": "ok", "database": "ok", "redis": "ok"}
                    await buy(history, here, there, "ann", item)
        honcho.terminate()
        with trio.fail_after(HONCHO_KILL_SECONDS):
            await honcho.wait()
    finally:
        pids = {int(pid) for pid in re.findall(r"started \(pid=(\d+)\)", log.read_text())}
        left = {pid for pid in pids if _is_there(pid)}
        for pid in left:
            os.killpg(pid, signal.SIGKILL)
        await honcho.stop([], to_group=True)
    text = log.read_text()
    assert len(pids) == 4, text
    assert not left, text
    assert text.count("stopped (rc=0)") == 4, text
    assert "Traceback" not in text, text
    assert "ERROR" not in text, text
    for n in (0, 1):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port + n))
    await verify(history, postgres, sold_out=True)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _free_ports() -> int:
    """The first of two adjacent free ports."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
