"""The parser alone, without a socket: each raw request whole, cut everywhere and pipelined, compared with h11."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flash.http.limits import BODY_MAX_BYTES, HEADERS_MAX
from flash.http.message import Header
from flash.http.parser import READ_BYTES, Phase, RequestParser
from tests.fuzz.mutation import mutate
from tests.http.cases import ACCEPTED, GET, LAST, POST, REJECTED, Case

FUZZ_INPUTS = int(os.environ.get("FLASH_FUZZ_INPUTS", "100000"))
FUZZ_SEED = int(os.environ.get("FLASH_FUZZ_SEED", "1"))
STATUSES = {400, 413, 414, 431, 501, 505}
FRAMING = (b"content-length", b"transfer-encoding")


@dataclass
class Verdict:
    """What became of some bytes: method, target (without `?`), fields and body of each request; a rejection."""

    accepted: list[tuple[str, bytes, list[Header], bytes]] = field(default_factory=list)
    status: int | None = None
    phase: Phase = Phase.IDLE
    most_ready: int = field(default=0, compare=False)


def judge(pieces: Iterable[bytes]) -> Verdict:
    """Feed a parser as a connection does."""
    parser = RequestParser(BODY_MAX_BYTES)
    verdict = Verdict()
    for piece in pieces:
        for start in range(0, len(piece), READ_BYTES):
            parser.feed(piece[start : start + READ_BYTES])
            verdict.most_ready = max(verdict.most_ready, len(parser.ready))
            while parser.ready:
                incoming = parser.ready.popleft()
                request = incoming.request
                assert len(request.header_values(b"host")) == 1 or incoming.version == "1.0"
                assert len(request.headers) <= HEADERS_MAX
                target = request.raw_path + request.query
                verdict.accepted.append((request.method, target, fields(request.headers), request.body))
                if incoming.is_last:
                    return verdict
            if parser.rejection is not None:
                verdict.status = parser.rejection.status
                return verdict
    verdict.phase = parser.phase
    return verdict


def judge_h11(data: bytes) -> Verdict:
    """The first request, if h11 accepts it. Status 400 stands for all of its rejections."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=200_000)
    connection.receive_data(data)
    body, request = b"", None
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                target = request.target.replace(b"?", b"", 1)
                return Verdict([(request.method.decode(), target, fields(request.headers), body)])
            else:
                return Verdict()
    except h11.RemoteProtocolError:
        return Verdict(status=400)


def fields(headers: Iterable[Header]) -> list[Header]:
    """`headers` without the framing headers, which h11 rewrites."""
    return [(bytes(name), bytes(value)) for name, value in headers if name not in FRAMING]


def cuts(data: bytes) -> Iterator[list[bytes]]:
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    offsets: Sequence[int] = range(1, len(data))
    if len(data) > 600:
        offsets = random.Random(len(data)).sample(offsets, 50)
    for at in offsets:
        yield [data[:at], data[at:]]


@pytest.mark.parametrize("case", ACCEPTED + LAST, ids=lambda case: repr(case.data[:60]))
def test_a_right_request_is_accepted_however_it_is_cut(case: Case) -> None:
    for pieces in cuts(case.data):
        verdict = judge(pieces)
        assert [body for _, _, _, body in verdict.accepted] == [case.body]
        assert verdict.accepted == judge([case.data]).accepted
        assert (verdict.status, verdict.phase) == (None, Phase.IDLE)


@pytest.mark.parametrize("case", REJECTED, ids=lambda case: repr(case.data[:60]))
def test_a_wrong_request_is_rejected_the_same_way_however_it_is_cut(case: Case) -> None:
    for pieces in cuts(case.data):
        verdict = judge(pieces)
        assert (verdict.accepted, verdict.status) == ([], case.status)


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: repr(case.data[:60]))
def test_three_requests_at_once_are_three(case: Case) -> None:
    for pieces in cuts(case.data * 3):
        assert [body for _, _, _, body in judge(pieces).accepted] == [case.body] * 3


@pytest.mark.parametrize("case", REJECTED, ids=lambda case: repr(case.data[:60]))
def test_requests_before_a_rejection_are_accepted_and_none_after_it(case: Case) -> None:
    verdict = judge([GET + b"\r\n" + case.data + GET + b"\r\n"])
    assert (len(verdict.accepted), verdict.status) == (1, case.status)


@pytest.mark.parametrize(
    ("raw", "escaped"),
    [
        ("/checkout?user_id=josé&id=1", b"/checkoutuser_id=jos%C3%A9&id=1"),
        ("/checkout?user_id=%6Aosé%C3%A9", b"/checkoutuser_id=%6Aos%C3%A9%C3%A9"),
        ("/é", b"/%C3%A9"),
        ("http://h/é?é", b"http://h/%C3%A9%C3%A9"),
    ],
)
def test_raw_bytes_of_a_target_count_as_percent_encoded_and_those_of_headers_and_bodies_stay(
    raw: str, escaped: bytes
) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: h\r\nX: /\xff\r\nContent-Length: 2\r\n\r\n" % raw.encode()
    for pieces in cuts(head + b"/\xff" + GET + b"\r\n"):
        (method, target, headers, body), second = judge(pieces).accepted
        assert (method, target, headers[1:], body) == ("POST", escaped, [(b"x", b"/\xff")], b"/\xff")
        assert second[0] == "GET"


WORDS = st.sampled_from(
    [b"/", b"?", b" ", b"a", b"1", b"HTTP/1", b"\x80", b"\xc3\xa9", b"\xff", b"%C3", b"\r\n", b"http://"]
)
RAW_REQUEST = st.builds(
    lambda method, target, version, field, body: (
        b"%b /%b HTTP/1.%b\r\nHost: h\r\nX: %b\r\nContent-Length: %d\r\n\r\n%b"
        % (method, target, version, field, len(body), body)
    ),
    st.sampled_from([b"GET", b"POST", b"CONNECT", b"\xff"]),
    st.lists(WORDS, max_size=6).map(b"".join),
    st.sampled_from([b"1", b"1", b"1", b"0", b"\xff"]),
    st.lists(WORDS, max_size=4).map(b"".join),
    st.lists(WORDS, max_size=4).map(b"".join),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(RAW_REQUEST, min_size=1, max_size=3).map(b"".join), st.data())
def test_requests_with_raw_bytes_get_the_same_verdict_however_they_are_cut(data: bytes, choice: st.DataObject) -> None:
    whole = judge([data])
    for pieces in cuts(data):
        assert judge(pieces) == whole
    ends = sorted(choice.draw(st.lists(st.integers(0, len(data)), max_size=6)))
    assert judge([data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]) == whole


@pytest.mark.parametrize("case", LAST, ids=lambda case: repr(case.data[:60]))
def test_what_follows_the_last_request_is_neither_accepted_nor_rejected(case: Case) -> None:
    for rest in (GET + b"\r\n", b"\x00"):
        verdict = judge([case.data + rest])
        assert (len(verdict.accepted), verdict.status) == (1, None)


@pytest.mark.parametrize("case", ACCEPTED + LAST + REJECTED, ids=lambda case: repr(case.data[:60]))
def test_h11_agrees_unless_there_is_a_reason(case: Case) -> None:
    theirs = judge_h11(case.data)
    ours = judge([case.data])
    is_same = theirs.accepted == ours.accepted and (theirs.status is None) == (ours.status is None)
    assert is_same == (not case.unlike_h11)


@pytest.mark.parametrize("at", range(len(POST)))
def test_an_unfinished_head_never_counts_as_idle(at: int) -> None:
    assert judge([POST[:at]]).phase is (Phase.HEAD if at else Phase.IDLE)


def test_one_read_never_makes_more_requests_ready_than_the_bound() -> None:
    shortest = b"GET / HTTP/1.1\r\nHost:\r\n\r\n"
    verdict = judge([shortest * 2_000])
    assert len(verdict.accepted) == 2_000
    assert verdict.most_ready <= READ_BYTES // len(shortest) + 1


TOKENS = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b"\x00",
    b"\xff",
    b"0\r\n\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"\r\n\r\n",
]
TOKENS += [
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: h\r\n",
    b"Connection: close\r\n",
    b"1\r\nx\r\n",
]
TOKENS += [
    b"Upgrade: x\r\nConnection: upgrade\r\n",
    b"Expect: 100-continue\r\n",
    b";",
    b",",
    b"ffffffffffffffff",
    b"CONNECT",
]
CORPUS = [case.data for case in ACCEPTED + LAST + REJECTED if len(case.data) < 600]


def mutants(seed: int, count: int) -> Iterator[tuple[bytes, random.Random]]:
    """One to three requests of the table in a row, with some bytes changed, removed, doubled or inserted."""
    for number in range(count):
        luck = random.Random(seed * 1_000_000_007 + number)
        data = b"".join(luck.choices(CORPUS, k=luck.choice((1, 1, 1, 2, 3))))
        yield mutate(luck, data, TOKENS), luck


def in_pieces(data: bytes, luck: random.Random) -> list[bytes]:
    ends = sorted(luck.randrange(len(data) + 1) for _ in range(luck.choice((1, 3, 8))))
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def test_any_input_gets_the_same_verdict_in_one_piece_and_in_many() -> None:
    """FLASH_FUZZ_INPUTS and FLASH_FUZZ_SEED choose how many and which; every tenth is shown to h11 as well."""
    for number, (data, luck) in enumerate(mutants(FUZZ_SEED, FUZZ_INPUTS)):
        verdict = judge([data])
        assert verdict.status is None or verdict.status in STATUSES, data
        assert verdict == judge(in_pieces(data, luck)), data
        if number % 10 == 0 and verdict.accepted and (theirs := judge_h11(data)).accepted:
            assert verdict.accepted[0] == theirs.accepted[0], data
