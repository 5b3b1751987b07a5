"""schemathesis against a running service on real stores: it reads openapi.json and tries to prove it wrong.

Bounded and seeded. To look longer, run a service and `schemathesis --config-file … run URL -n 500` against it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import trio

from flash.local.embedded import EmbeddedValkey
from flash.testing.client import Client
from flash.testing.cluster import running_cluster

TOKEN = "a-token-of-an-operator"
CONFIG = Path(__file__).with_name("schemathesis.toml")
CASES_MIN = 500
SECONDS_MAX = 120


async def test_schemathesis_finds_nothing(postgres: str, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    settings = {"FLASH_SALE_PERIOD": "86400", "FLASH_SALE_SIZE": "50", "FLASH_CONTROL_TOKEN": TOKEN}
    async with running_cluster(postgres, valkey.url, web=1, inventory=1, **settings) as (_, (address,)):
        shutil.copy(CONFIG, tmp_path)
        codes = await codes_of_all_kinds(address)
        (tmp_path / "codes.txt").write_text("".join(f"{json.dumps(code)}\n" for code in codes))
        with trio.fail_after(SECONDS_MAX):
            done = await trio.run_process(
                command(address), cwd=tmp_path, capture_stdout=True, stderr=subprocess.STDOUT, check=False
            )
    told = done.stdout.decode()
    assert done.returncode == 0, told
    tried = re.search(r"(\d+) generated", told)
    assert tried, told
    assert int(tried[1]) >= CASES_MIN, told
    operations = re.search(r"Selected: (\d+)/(\d+)", told)
    assert operations, told
    assert operations[1] == operations[2], "some operations were left out"


def command(address: str) -> list[str]:
    return [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", CONFIG.name),
        *("run", f"{address}/openapi.json", "--header", f"Authorization: Bearer {TOKEN}"),
        *("--max-examples", "4", "--seed", "1", "--no-shrink", "--generation-database", "none"),
        *("--request-timeout", "10"),
    ]


async def codes_of_all_kinds(address: str) -> list[str]:
    """One that has bought, one whose item another one has bought, one that has bought nothing."""
    async with Client(address) as client:
        codes = []
        for user, item in (("ada", 1), ("bob", 1), ("eve", 2)):
            answer = await client.post(f"/checkout?user_id={user}&id={item}")
            codes.append(answer.json()["code"])
        assert (await client.post(f"/purchase?code={codes[0]}")).status == 200
    return codes
