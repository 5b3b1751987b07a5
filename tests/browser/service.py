"""A running service for browsers: real processes on real stores. No event loop: Playwright's is not Trio's."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from flash.config import environment
from flash.local.embedded import EmbeddedPostgres
from flash.testing.stores import fresh_database, running_valkey

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0
ANSWER_SECONDS = 20.0


class Process:
    """`flash web` or `flash inventory`, and what it logs."""

    def __init__(self, command: str, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flash", command],
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.log = ""
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until a line of the log matches."""
        with self._more:
            assert self._more.wait_for(lambda: re.search(pattern, self.log), START_SECONDS), self.log
        found = re.search(pattern, self.log)
        assert found is not None
        return found

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                with self._more:
                    self.log += line
                    self._more.notify_all()


@dataclass
class Service:
    """One web and one inventory process. Asks it as any client would, with methods that assert what they expect."""

    env: dict[str, str] = field(repr=False)
    processes: list[Process] = field(default_factory=list, repr=False)
    url: str = ""
    _numbers: Iterator[int] = field(default_factory=count)

    def start(self, command: str, ready: str) -> re.Match[str]:
        process = Process(command, self.env)
        self.processes.append(process)
        return process.wait_for(ready)

    def start_web(self) -> None:
        """On the port of the one before, if there was one."""
        self.url = self.start("web", r"listening on (http://[\w.:]+)").group(1)
        self.env["PORT"] = str(urlsplit(self.url).port)

    def kill_web(self) -> None:
        self.processes.pop().kill()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)

    def post(self, path: str, **headers: str) -> Any:
        """The body, whether it is a yes or a no."""
        request = urllib.request.Request(f"{self.url}{path}", data=b"", headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            return json.load(refusal)

    def buy(self, item_id: int, user: str | None = None) -> None:
        """Sell an item to `user`, or to somebody new."""
        query = urlencode({"user_id": user or f"somebody-{next(self._numbers)}", "id": item_id})
        code = self.post(f"/checkout?{query}")["code"]
        receipt = self.post(f"/purchase?{urlencode({'code': code})}")
        assert receipt.get("message") == "Purchase successful", receipt

    def sale(self) -> Any:
        return self.get("/sales/current")


@contextlib.contextmanager
def running_service(server: EmbeddedPostgres, **settings: str) -> Iterator[Service]:
    with fresh_database(server) as database_url, running_valkey() as valkey:
        needed = {"DATABASE_URL": database_url, "REDIS_URL": valkey.url, "PYTHONPATH": str(ROOT)}
        quick = {"FLASH_LEASE_TTL": "1", "FLASH_LEASE_MARGIN": "0.2", "WEB_CONCURRENCY": "1", "PORT": "0"}
        service = Service({**environment(**needed), **quick, **settings})
        try:
            service.start("inventory", r"leading sale \d+")
            service.start_web()
            yield service
        finally:
            for process in service.processes:
                process.kill()


def in_parallel(work: Callable[[Any], object], arguments: list[Any]) -> None:
    threads = [threading.Thread(target=work, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
