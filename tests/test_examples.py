"""The examples, run as they are against the real service, so that none of them goes stale."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from flash.local.embedded import EmbeddedValkey
from flash.local.procfile import PROJECT
from tests.client.test_clients import open_service, wait_seen

EXAMPLES = PROJECT / "examples"


async def test_every_request_of_the_http_file_is_answered_as_it_says(postgres: str, valkey: EmbeddedValkey) -> None:
    async with open_service(postgres, valkey.url) as address, httpx.AsyncClient() as client:
        variables: dict[str, Any] = {}
        answers = {}
        for request in requests_of(EXAMPLES / "flash.http", variables, address):
            answer = await client.request(
                request.method, request.url, headers=request.headers, content=request.body or None
            )
            promised = re.search(r": (4\d\d) (\w+)", request.title)
            if promised is None:
                assert answer.status_code == 200, (request.title, answer.text)
            else:
                assert (str(answer.status_code), answer.json()["code"]) == promised.groups()
            if request.name:
                variables[request.name] = answer.json()
            answers[request.title] = answer.text
        receipts = [text for title, text in answers.items() if title.startswith(("Buy it", "The same again"))]
        assert receipts[0] == receipts[1]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    title: str
    name: str
    method: str
    url: str
    headers: dict[str, str]
    body: str


def requests_of(path: Path, answers: dict[str, Any], address: str) -> Iterator[HttpRequest]:
    """Read lazily, since a request may need what earlier ones were answered."""
    head, *blocks = path.read_text().split("\n### ")
    variables = {**dict(re.findall(r"^@(\w+) = (.*)$", head, re.MULTILINE)), "host": address}

    def value(found: re.Match[str]) -> str:
        expression = found.group(1)
        if expression in variables:
            return str(variables[expression])
        name, _, place = expression.partition(".response.body.$")
        value = answers[name]
        for member, index in re.findall(r"\.(\w+)|\[(\d+)\]", place):
            value = value[member] if member else value[int(index)]
        return str(value)

    for block in blocks:
        title, _, rest = block.partition("\n")
        names = re.findall(r"^# @name (\w+)$", rest, re.MULTILINE)
        message = re.sub(r"^#.*\n", "", rest, flags=re.MULTILINE)
        lines, _, body = re.sub(r"{{(.+?)}}", value, message).partition("\n\n")
        start, *headers = lines.strip().splitlines()
        method, url = start.split(" ", 1)
        named = dict(header.split(": ", 1) for header in headers)
        yield HttpRequest(title, names[0] if names else "", method, url, named, body.strip())


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_curl_example_buys_and_shows_what_refuses_it(postgres: str, valkey: EmbeddedValkey) -> None:
    async with open_service(postgres, valkey.url) as address:
        for sold, (buyer, code) in enumerate((("ada", 0), ("grace", 0), ("x" * 65, 1))):
            await wait_seen(address, sold)
            done = await run(EXAMPLES / "curl.sh", address, buyer)
            assert done.returncode == code, done
            if code == 0:
                assert json.loads(done.stdout)["user_id"] == buyer
            else:
                assert '"code":"invalid_request"' in done.stderr


@pytest.mark.skipif(shutil.which("k6") is None, reason="k6 is not installed")
async def test_the_crowd_of_k6_keeps_its_thresholds(postgres: str, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    async with open_service(postgres, valkey.url, FLASH_SALE_SIZE="100") as address:
        settings = {"BASE_URL": address, "RATE": "5", "SECONDS": "2", "SUMMARY": str(tmp_path / "summary.html")}
        options = [text for name, value in settings.items() for text in ("-e", f"{name}={value}")]
        done = await run("k6", "run", "--quiet", "--no-usage-report", *options, str(EXAMPLES / "k6" / "flash-sale.js"))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Every threshold holds" in (tmp_path / "summary.html").read_text()


async def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    done = await trio.run_process(list(map(str, command)), capture_stdout=True, capture_stderr=True, check=False)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
