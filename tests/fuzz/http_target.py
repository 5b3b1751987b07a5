"""Heads and bodies that nobody should send, over the real connections, parser and handlers; only the stores are fakes.

Each input must get whole answers with statuses that are documented, or be closed; nothing may be logged as an error,
and nobody may hear of a checkout or a purchase that was not asked for behind the handlers.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import orjson
import trio

from flash.api.control import ControlRoom
from flash.api.control_access import ControlAccess
from flash.api.limits import NO_LIMITS
from flash.config import Config
from flash.domain import (
    Attempt,
    CheckoutOutcome,
    ItemId,
    Outcome,
    Purchase,
    RecordedAttempt,
    Redemption,
    Refusal,
    Refused,
    Repeated,
    RequestId,
    Sold,
    UserId,
)
from flash.errors import FlashError, OutcomeUnknown, Overloaded, StorageFull, Unavailable
from flash.http.client_address import TrustedProxies, key_of
from flash.http.connection import Connection
from flash.http.connection_set import ConnectionSet
from tests.api.fakes import CODE, CODES, NOON, FakeControlState, FakePauses, FakeShop
from tests.fuzz.findings import Findings, loud_logs, lucks
from tests.fuzz.mutation import in_pieces, mutate
from tests.http.cases import ACCEPTED, LAST, REJECTED

ANSWER_SECONDS = 5.0
STATUSES = {100, 200, 204, 206, 304, 400, 401, 403, 404, 405, 406, 408, 409, 410, 413, 414, 415, 416, 422, 429, 431}
STATUSES |= {501, 503, 505}
_TOKEN = "a-token-of-32-characters-or-so-x"
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [A-Za-z' -]+\Z")

_READABLE = (
    *("/purchases/{code}", "/sales", "/sales?before=2&limit=5", "/sales/current", "/sales/1", "/sales/1/sold"),
    *("/sales/1/items?available=true&after=101&limit=2", "/items/101", "/items/101/image.svg", "/events", "/catalog/0"),
    *("/problems/item_sold", "/health", "/livez", "/readyz", "/", "/nowhere", "/pages/storefront/strings.js"),
    *("/control/state", "/catalog.json"),
)
_TARGETS = (
    *[(b"POST", b"/checkout?user_id=ann&id=101"), (b"POST", b"/purchase?code={code}")] * 6,
    *[(b"POST", b"/control/sales/1/pause?by=ann&reason=x"), (b"POST", b"/control/session")],
    *((b"GET", path.encode()) for path in _READABLE),
)
_HEADERS = (
    *(b"Idempotency-Key: k-1", b"If-None-Match: *", b'If-None-Match: W/"x", "y"', b"Accept: text/html;q=0.1, */*"),
    *(
        b"Accept-Encoding: gzip;q=1.5, br",
        b"X-Request-ID: a b",
        b"Traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
    ),
    *(b"Content-Type: application/json", b"Content-Type: application/x-www-form-urlencoded; charset=utf-7"),
    *(b"Content-Type: multipart/form-data; boundary=x", b"Expect: 100-continue", b"Range: bytes=0-1,5-"),
    *(b"Authorization: Bearer " + _TOKEN.encode(), b"Authorization: Basic eDp5", b"Cookie: flash_control=1.2; a=b"),
    *(b"Origin: https://shop.example", b"Origin: null", b"Sec-Fetch-Site: same-origin", b"User-Token: a.b.c"),
    *(b"X-Forwarded-For: 10.0.0.1, ::1, x", b"Connection: keep-alive", b"Last-Event-ID: 7", b"Upgrade: h2c"),
    *(b"Access-Control-Request-Method: POST", b"If-Modified-Since: Tue, 99 Foo 2026"),
)
_BODIES = (
    *(b"", b"user_id=ann&id=101", b"code={code}", b'{"user_id":"ann","id":101}', b'{"user_id":"ann","id":"101"}'),
    *(
        b'{"code":"{code}"}',
        b'{"id":1e999}',
        b'{"id":NaN}',
        b'{"user_id":"\\ud800","id":1}',
        b"[" * 3_000,
        b'"x"',
        b"null",
    ),
    *(b'{"id":1,"id":2,"user_id":"a"}', b'{"user_id":{"a":1},"id":[1]}', b"\xff\xfe{", b"id=1&id=2&user_id=%ff"),
    *(b"5\r\nabcde\r\n0\r\n\r\n", b"code=" + b"A" * 8_200, b'{"id":' + b"9" * 5_000 + b"}"),
)
_TOKENS = (
    *(b"\r\n", b"\n", b" ", b":", b"\x00", b"\xff", b"HTTP/1.0", b"\r\n\r\n", b"%00", b"%ED%A0%80", b"%F0%9F%98%80"),
    *(
        b"%2e%2e/",
        b"//",
        b"&id=",
        b"9223372036854775808",
        b"-1",
        b"+",
        b"%EF%BC%91",
        b"?",
        b"#",
        b";",
        b"=",
        b"{",
        b"\\u0000",
    ),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: h\r\n", b"Connection: close\r\n"),
    *(b"0\r\n\r\n", b"1\r\nx\r\n", b"ffffffffffffffff", b"Expect: 100-continue\r\n", b"CONNECT", b"HTTP/2.0"),
)
_RAW = [case.data for case in (*ACCEPTED, *LAST, *REJECTED) if len(case.data) < 600]


def run(seeds: Iterable[int]) -> Findings:
    findings = Findings()
    with loud_logs() as heard:
        trio.run(_run, seeds, findings, heard)
    return findings


async def _run(seeds: Iterable[int], findings: Findings, heard: list[str]) -> None:
    site = Site()
    for seed in seeds:
        for luck in lucks(seed):
            data = an_input(luck)
            site.choose_outcomes(luck)
            try:
                answer = _judge(await site.ask(in_pieces(data, luck)), site)
                if heard:
                    raise AssertionError(heard.pop())
                findings.note(answer)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is no defined answer
                findings.fail(seed, data, error)


def an_input(luck: Random) -> bytes:
    """One to three requests in a row. Some are mutated as a whole, the others where their framing stays right."""
    data = b"".join(_request(luck) for _ in range(luck.choice((1, 1, 1, 2, 3))))
    return mutate(luck, data, _TOKENS) if luck.random() < 0.4 else data


def _request(luck: Random) -> bytes:
    if luck.random() < 0.1:
        return luck.choice(_RAW)
    code = CODES.seal(CODE).encode()
    method, path = luck.choice(_TARGETS)
    target = path.replace(b"{code}", code)
    if luck.random() < 0.1:
        method = luck.choice((b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))
    headers = luck.sample(_HEADERS, luck.choice((0, 1, 2, 4)))
    body = luck.choice(_BODIES).replace(b"{code}", code) if method in (b"POST", b"PUT") else b""
    if body and luck.random() < 0.5:
        target = target.partition(b"?")[0]
        form = b"application/json" if body[:1] in b"{[" else b"application/x-www-form-urlencoded"
        headers.append(b"Content-Type: " + form)
    if luck.random() < 0.4:
        target = b"/" + _within_a_line(mutate(luck, target[1:], _TOKENS)).replace(b" ", b"%20")
    if luck.random() < 0.3:
        headers = [_within_a_line(mutate(luck, header, _TOKENS)) for header in headers]
    if body and luck.random() < 0.3:
        body = mutate(luck, body, _TOKENS)
    headers += [b"Host: h", b"Content-Length: %d" % len(body)] if body else [b"Host: h"]
    return b"%b %b HTTP/1.1\r\n%b\r\n\r\n%b" % (method, target, b"\r\n".join(headers), body)


def _within_a_line(data: bytes) -> bytes:
    return data.translate(None, b"\0\r\n")


class Site:
    """The application of a web process behind connections of its own."""

    def __init__(self) -> None:
        access = ControlAccess(_TOKEN, key_of(TrustedProxies("")), is_tls=False)
        room = ControlRoom(access, FakePauses(), FakeControlState())
        self.shop = FakeShop(NO_LIMITS, room, cors_origins=["https://shop.example"])
        self._connections = ConnectionSet(Config())

    def choose_outcomes(self, luck: Random) -> None:
        """What the stores say this time."""
        shop = self.shop
        shop.checkouts.asked.clear()
        shop.purchases.asked.clear()
        shop.checkouts.outcome = luck.choice(_CHECKOUTS)
        shop.purchases.outcome = luck.choice(_PURCHASES)
        shop.purchases.redemption = luck.choice(_REDEMPTIONS)

    async def ask(self, pieces: Sequence[bytes]) -> bytes:
        """All that is answered to `pieces`. The connection must end by itself once its client sends no more."""
        ours, theirs = socket.socketpair()
        client = trio.socket.from_stdlib_socket(ours)
        with client, trio.fail_after(ANSWER_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Connection.serve, self.shop.app, self._connections, theirs)
                heard = await _converse(client, pieces)
                client.close()
        assert not self._connections.members, "a connection outlives its client"
        return heard


async def _converse(client: trio.socket.SocketType, pieces: Sequence[bytes]) -> bytes:
    heard = bytearray()
    try:
        for piece in pieces:
            while piece:
                piece = piece[await client.send(piece) :]
            await trio.lowlevel.checkpoint()
        client.shutdown(socket.SHUT_WR)
        while data := await client.recv(65_536):
            heard += data
            if b"text/event-stream" in data:
                break  # that answer ends when its reader leaves
    except (BrokenPipeError, ConnectionResetError):
        pass
    return bytes(heard)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes


def answers_of(data: bytes) -> Iterator[Answer]:
    """The answers in a row. An answer to HEAD has no body. Raises `AssertionError` if they are not whole."""
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        match = _STATUS_LINE.fullmatch(line) if end else None
        assert match, f"no head of an answer: {head[:200]!r}"
        headers = dict(field.lower().split(b": ", 1) for field in fields)
        length = int(headers.get(b"content-length", b"0"))
        if data.startswith(b"HTTP/1.1 ") or not data:
            length = 0
        if headers.get(b"content-type", b"") == b"text/event-stream":
            length = len(data)
        assert len(data) >= length, f"{length - len(data)} bytes of a body are missing"
        yield Answer(int(match[1]), headers, data[:length])
        data = data[length:]


def _judge(data: bytes, site: Site) -> str:
    answers = list(answers_of(data))
    if not answers:
        return "closed"
    for answer in answers:
        assert answer.status in STATUSES, f"status {answer.status}: {answer.body[:500]!r}"
        if answer.headers.get(b"content-type") == b"application/problem+json" and answer.body:
            told = orjson.loads(answer.body)
            assert told["status"] == answer.status, told
            assert told["code"], told
    issued = sum(answer.body.startswith(b'{"code":"') and answer.status == 200 for answer in answers)
    sold = sum(b'"Purchase successful"' in answer.body for answer in answers)
    attempts = sum(isinstance(asked, Attempt) for asked in site.shop.checkouts.asked)
    assert issued <= attempts, f"{issued} codes for {attempts} attempts"
    assert sold <= len(site.shop.purchases.asked), f"{sold} sold, {len(site.shop.purchases.asked)} asked for"
    last = answers[-1]
    is_problem = last.headers.get(b"content-type") == b"application/problem+json" and last.body
    code = orjson.loads(last.body)["code"] if is_problem else ""
    return f"{last.status} {code}".strip()


def _purchase() -> Purchase:
    return Purchase(CODE.checkout_id, RequestId("key:k-1"), ItemId(101), UserId("zoë"), 1, NOON)


_FAILURES: tuple[FlashError, ...] = (
    *(Unavailable("down"), Overloaded("full", retry_after_seconds=3.0), OutcomeUnknown("lost"), StorageFull("full")),
)
_NOT_REFUSED = (CheckoutOutcome.ISSUED, CheckoutOutcome.INVALID_REQUEST)
_CHECKOUTS: tuple[RecordedAttempt | FlashError, ...] = (
    RecordedAttempt(CheckoutOutcome.ISSUED, CODE),
    RecordedAttempt(CheckoutOutcome.ISSUED, CODE),
    *(RecordedAttempt(outcome, None, 1.5) for outcome in CheckoutOutcome if outcome not in _NOT_REFUSED),
    *_FAILURES,
)
_PURCHASES: tuple[Outcome | FlashError, ...] = (
    *(Sold(_purchase()), Repeated(_purchase()), Refused(Refusal.CODE_ALREADY_USED, _purchase())),
    *(Refused(refusal, None, 10) for refusal in Refusal if refusal is not Refusal.CODE_ALREADY_USED),
    *_FAILURES,
)
_REDEMPTIONS: tuple[Redemption | FlashError, ...] = (
    *(Redemption(False, None), Redemption(True, None, True), Redemption(True, _purchase())),
    *_FAILURES[:2],
)
