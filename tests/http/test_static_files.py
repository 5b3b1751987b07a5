"""Files for browsers: what a real server of either kind sends, and what it spares a client that has them already."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from flash.http.asgi import App
from flash.http.content_coding import takes_gzip
from flash.http.message import Request
from flash.http.server import serve
from flash.http.static_files import CONTENT_SECURITY_POLICY, StaticFiles
from flash.testing.client import Client
from tests.http.site import limits

SCRIPT = b"export const answer = 42;\n" * 100
GZIP = ((b"accept-encoding", b"br, gzip"),)


@pytest.fixture
def files(tmp_path: Path) -> StaticFiles:
    for name, body in {
        "shop/app.js": SCRIPT,
        "shop/index.html": b"<!doctype html>" + b"<p>hello</p>" * 50,
        "shop/tiny.svg": b"<svg/>",
        "vendor/library.0123abcd.js": SCRIPT,
        "__init__.py": b"raise AssertionError",
        "__pycache__/x.html": b"x",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(body)
    return StaticFiles(tmp_path)


@asynccontextmanager
async def client_of(files: StaticFiles, *, is_builtin: bool) -> AsyncIterator[Client]:
    app = App({("GET", "/"): files.handler("shop/index.html"), **files.routes("/pages")}, body_seconds=1)
    stop, addresses = trio.Event(), list[str]()
    listening = trio.Event()

    def hear(address: str) -> None:
        addresses.append(address)
        listening.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(
                serve,
                app,
                host="127.0.0.1",
                port=0,
                limits=limits(drain_seconds=0.3),
                stop=stop,
                on_listening=hear,
                is_builtin=is_builtin,
            )
        )
        await listening.wait()
        async with Client(addresses[0]) as client:
            yield client
        stop.set()


pytestmark = pytest.mark.parametrize("is_builtin", [True, False], ids=["builtin", "hypercorn"])


async def test_a_page_forbids_what_is_not_its_own_and_is_asked_for_again(files: StaticFiles, is_builtin: bool) -> None:
    async with client_of(files, is_builtin=is_builtin) as client:
        page = await client.get("/")
    assert page.status == 200
    assert page.body.startswith(b"<!doctype html>")
    assert page.header(b"content-type") == b"text/html; charset=utf-8"
    assert page.header(b"content-security-policy") == CONTENT_SECURITY_POLICY
    assert b"unsafe" not in CONTENT_SECURITY_POLICY
    assert page.header(b"x-content-type-options") == b"nosniff"
    assert page.header(b"cache-control") == b"no-cache"


async def test_a_file_is_compressed_for_those_who_take_it_under_another_tag(
    files: StaticFiles, is_builtin: bool
) -> None:
    async with client_of(files, is_builtin=is_builtin) as client:
        plain, zipped = await client.get("/pages/shop/app.js"), await client.get("/pages/shop/app.js", GZIP)
        assert plain.header(b"content-encoding") is None
        assert zipped.header(b"content-encoding") == b"gzip"
        assert plain.body == gzip.decompress(zipped.body) == SCRIPT
        assert len(zipped.body) < len(SCRIPT) / 10
        assert plain.header(b"etag") != zipped.header(b"etag")
        for answer in plain, zipped:
            assert answer.header(b"vary") == b"accept-encoding"
            assert answer.header(b"content-type") == b"text/javascript; charset=utf-8"
        tiny = await client.get("/pages/shop/tiny.svg", GZIP)
        assert (tiny.body, tiny.header(b"content-encoding")) == (b"<svg/>", None)


async def test_who_has_the_file_is_told_so_without_a_body(files: StaticFiles, is_builtin: bool) -> None:
    async with client_of(files, is_builtin=is_builtin) as client:
        for encoding in (), GZIP:
            first = await client.get("/pages/shop/app.js", encoding)
            tag = first.header(b"etag")
            assert tag is not None
            assert not tag.startswith(b"W/")
            for named in tag, b'"other", ' + tag, b"W/" + tag, b"*":
                again = await client.get("/pages/shop/app.js", (*encoding, (b"if-none-match", named)))
                assert (again.status, again.body) == (304, b"")
                assert again.header(b"etag") == tag
                assert again.header(b"content-encoding") is None
            other = await client.get("/pages/shop/app.js", (*encoding, (b"if-none-match", b'"other"')))
            assert other.status == 200


async def test_a_name_with_a_hash_is_kept_for_ever(files: StaticFiles, is_builtin: bool) -> None:
    async with client_of(files, is_builtin=is_builtin) as client:
        hashed = await client.get("/pages/vendor/library.0123abcd.js")
        assert hashed.header(b"cache-control") == b"public, max-age=31536000, immutable"


async def test_head_says_the_length_and_sends_nothing(files: StaticFiles, is_builtin: bool) -> None:
    async with client_of(files, is_builtin=is_builtin) as client:
        head, page = await client.request("HEAD", "/pages/shop/app.js"), await client.get("/pages/shop/app.js")
        assert (head.status, head.body) == (200, b"")
        assert head.header(b"content-length") == b"%d" % len(SCRIPT)
        assert head.header(b"etag") == page.header(b"etag")


async def test_nothing_but_the_files_can_be_reached(files: StaticFiles, is_builtin: bool) -> None:
    async with client_of(files, is_builtin=is_builtin) as client:
        for path in (
            "__init__.py",
            "__pycache__/x.html",
            "../conftest.py",
            "shop/%2e%2e/__init__.py",
            "shop/",
            "shop",
            "shop/app.js/",
        ):
            assert (await client.get(f"/pages/{path}")).status == 404, path
        posted = await client.post("/pages/shop/app.js")
        assert (posted.status, posted.header(b"allow")) == (405, b"GET, HEAD")


def test_a_file_without_a_known_type_is_found_out_at_the_start(tmp_path: Path, is_builtin: bool) -> None:
    (tmp_path / "archive.zip").write_bytes(b"x")
    with pytest.raises(KeyError, match="zip"):
        StaticFiles(tmp_path)


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        (None, False),
        (b"", False),
        (b"gzip", True),
        (b"br, GZIP;q=0.5", True),
        (b"*", True),
        (b"br", False),
        (b"gzip;q=0", False),
        (b"*;q=1, gzip; q=0.000", False),
        (b"gzip;q=lots", False),
        (b"gzip;level=9", False),
    ],
)
def test_a_client_gets_gzip_only_if_it_asked_for_it(header: bytes | None, takes: bool, is_builtin: bool) -> None:
    headers = [] if header is None else [(b"accept-encoding", header)]
    assert takes_gzip(Request("GET", "/", b"/", b"", headers)) is takes
