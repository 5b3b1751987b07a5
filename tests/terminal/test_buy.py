"""`flash buy` as a person runs it, against the real service and against things that are not it."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator

import pytest
import trio

from flash import catalog
from flash.local.embedded import EmbeddedValkey
from tests.client.test_clients import open_service
from tests.test_cli import flash


def test_it_buys_a_free_item_and_prints_the_receipt(bought: dict[str, tuple[int, str, str]]) -> None:
    code, out, err = bought["a free one"]
    assert (code, err) == (0, "")
    found = re.fullmatch(
        r"Bought  (.+)\n  item     (\d+) of sale 1\n  buyer    zoë\n  when     \S+ \S+\n  picture  (\S+)\n", out
    )
    assert found is not None, out
    item = int(found.group(2))
    assert found.group(1) == catalog.name(item)
    assert re.fullmatch(rf"http://\S+:\d+/items/{item}/image.svg", found.group(3))


@pytest.mark.parametrize(
    ("case", "code", "said"),
    [
        ("the same item", 3, "somebody was faster: this item is sold"),
        ("no such item", 3, "there is no such item"),
        ("too many", 3, "the limit is reached: this buyer has all the items"),
        ("a bad name", 3, "user_id must be 1 to 64 characters without control characters (invalid_request)"),
        ("no number", 2, "'x' is not the number of an item"),
        ("a path", 2, "--url: only http://host:port"),
        ("no address", 2, "--url or --cacert: 'localhost' is no address: expected http://host:port"),
    ],
)
def test_a_no_is_one_sentence_on_stderr_and_an_exit_code(
    bought: dict[str, tuple[int, str, str]], case: str, code: int, said: str
) -> None:
    assert bought[case][:2] == (code, "")
    last = bought[case][2].splitlines()[-1]
    assert last.startswith("flash")
    assert said in last


CASES = {
    "a free one": ("--user", "zoë"),
    "item 3": ("--user", "ann", "--id", "3"),
    "the same item": ("--user", "bob", "--id", "3"),
    "no such item": ("--user", "bob", "--id", "4000"),
    "item 4": ("--user", "ann", "--id", "4"),
    "too many": ("--user", "ann"),
    "a bad name": ("--user", "a\nb"),
    "no number": ("--user", "ann", "--id", "x"),
    "a path": ("--user", "ann", "--url", "http://localhost:8080/docs"),
    "no address": ("--user", "ann", "--url", "localhost"),
}


@pytest.fixture(scope="module")
def bought(postgres_of_module: str, valkey_of_module: EmbeddedValkey) -> dict[str, tuple[int, str, str]]:
    """Exit code, stdout and stderr of each case."""

    async def run() -> dict[str, tuple[int, str, str]]:
        found = {}
        settings = {"FLASH_USER_LIMIT": "2", "FLASH_SALE_SIZE": "1000"}
        async with open_service(postgres_of_module, valkey_of_module.url, **settings) as address:
            for name, arguments in CASES.items():
                at = () if "--url" in arguments else ("--url", address)
                done = await trio.to_thread.run_sync(lambda given: flash("buy", *given), (*arguments, *at))
                found[name] = done.returncode, done.stdout, done.stderr
        return found

    return trio.run(run)


@pytest.fixture
def another_service() -> Iterator[str]:
    """Something on this machine that answers everything with a page, in which it tries to steer the terminal."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"code": "item_gone\\u001b[2J", "detail": "\\u001b[31mboo"}'
            self.send_response(418)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    yield from serving(Handler)


def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def paused_then_sold() -> Iterator[str]:
    """A shop that asks for a second's patience once, and then says that the item is sold."""
    answers = [
        (503, b'{"code": "paused", "detail": "The sale is paused"}'),
        (409, b'{"code": "item_sold", "detail": "-"}'),
    ]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = answers.pop(0)
            self.send_response(status)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    yield from serving(Handler)


def test_it_says_what_it_waits_for(paused_then_sold: str) -> None:
    done = flash("buy", "--user", "me", "--id", "1", "--url", paused_then_sold)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines() == [
        "flash: not yet (The sale is paused): trying again in 1 s",
        "flash: somebody was faster: this item is sold",
    ]


def test_what_a_stranger_answers_does_not_steer_the_terminal(another_service: str) -> None:
    done = flash("buy", "--user", "me", "--url", another_service)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "flash: \N{REPLACEMENT CHARACTER}[31mboo (item_gone\N{REPLACEMENT CHARACTER}[2J)\n"
