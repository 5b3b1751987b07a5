"""Commands find the embedded stores by themselves: while `flash up` runs, and when it does not."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.local.running import flash_up, procfile
from tests.test_cli import flash, verdicts


def test_audit_keys_and_doctor_find_the_stores_whether_they_run_or_not(folder: Path) -> None:
    data = str(folder / "data")
    with flash_up(folder / "data", "-f", procfile(folder, web="web"), "-c", "web=1") as up:
        up.read_until("stop +Ctrl-C")
        audited = flash("audit", FLASH_DATA_DIR=data)
        assert "clean: " in audited.stdout
        assert audited.stderr == f"flash: PostgreSQL of {data}, which pid {up.process.pid} runs\n"
        assert flash("keys", FLASH_DATA_DIR=data).stdout.startswith("key  made")
        examined = flash("doctor", FLASH_DATA_DIR=data)
        assert verdicts(examined)["flash up"] == "ok"
        assert {"DATABASE_URL", "durability", "eviction"} <= {*verdicts(examined)}
        assert up.stop(signal.SIGTERM)
        stopped = flash("audit", "--json", FLASH_DATA_DIR=data)
        assert (
            stopped.stderr == f"flash: PostgreSQL of {data}, started for this command, since `flash up` does not run\n"
        )
        assert json.loads(stopped.stdout)["clean"] is True
        assert up.left_over() == []


def test_stores_that_flash_up_was_given_are_asked_for(folder: Path, postgres: str) -> None:
    stubs = procfile(folder, web="web")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1", DATABASE_URL=postgres) as up:
        up.read_until("stop +Ctrl-C")
        done = flash("audit", FLASH_DATA_DIR=str(folder / "data"))
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(
            f"flash: `flash up` runs here (pid {up.process.pid}) without an embedded PostgreSQL that answers: set DATAB"
        )
        up.stop(signal.SIGTERM)
