"""A browser for the tests of this folder: Debian's Chromium, driven by Playwright. Without one they are skipped."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from flash.local.embedded import EmbeddedPostgres
from tests.browser.service import Service, running_service

CHROMIUM = os.environ.get("FLASH_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
PATIENCE_MS = 15_000
WIDE = {"width": 1280, "height": 800}
REFUSED = re.compile(r"the server responded with a status of (409|410|429)\b")
"""What the browser says of every answer that is a no, such as that an item is sold."""
TOKEN = "a-token-of-an-operator"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM is None:
        skip = pytest.mark.skip(reason="Chromium is not on this machine; FLASH_CHROMIUM may say where it is")
        for item in items:
            if item.path.is_relative_to(os.path.dirname(__file__)):
                item.add_marker(skip)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Ended before tests of other folders begin: while it is there, Playwright's event loop counts as running."""
    expect.set_options(timeout=PATIENCE_MS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "new_event_loop", asyncio.SelectorEventLoop)  # trio-asyncio would give one of its own
        manager = sync_playwright()
        playwright = manager.__enter__()
    try:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
    finally:
        manager.__exit__()


class Visitors:
    """Opens windows, each of a visitor of their own, and hears everything that goes wrong in them."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser = browser
        self.url = url
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []
        self.hosts: set[str] = set()

    def context(self, **options: Any) -> BrowserContext:
        context = self._browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
        context.set_default_timeout(PATIENCE_MS)
        self._contexts.append(context)
        return context

    def visit(self, path: str = "/", context: BrowserContext | None = None, **options: Any) -> Page:
        page = (context or self.context(**options)).new_page()
        page.on("console", lambda said: self._hear(said.type, said.text))
        page.on("pageerror", lambda error: self._hear("error", str(error)))
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        page.goto(self.url + path)
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not REFUSED.search(text):
            self.complaints.append(text)


@pytest.fixture
def make_visitors(browser: Browser) -> Iterator[Callable[[Service], Visitors]]:
    made: list[tuple[Visitors, Service]] = []

    def make(service: Service) -> Visitors:
        made.append((Visitors(browser, service.url), service))
        return made[-1][0]

    yield make
    for visitors, service in made:
        visitors.close()
        assert visitors.complaints == []
        assert visitors.hosts <= {urlsplit(service.url).netloc, ""}, "data: URLs have no host"


@pytest.fixture(scope="session")
def hour(postgres_server: EmbeddedPostgres) -> Iterator[Service]:
    """A service with a sale of 10,000 items that goes on for the whole test, with at most two for everybody."""
    settings = {"FLASH_SALE_PERIOD": "86400", "FLASH_USER_LIMIT": "2", "FLASH_CONTROL_TOKEN": TOKEN}
    with running_service(postgres_server, **settings, FLASH_CORS_ORIGINS="*") as service:
        yield service


@pytest.fixture
def visitors(make_visitors: Callable[[Service], Visitors], hour: Service) -> Visitors:
    return make_visitors(hour)
