"""What logs and traces call a request: what is taken from a client, what is made, and how both travel."""

from __future__ import annotations

import re
import timeit

import pytest

from flash.correlation import (
    UNCORRELATED,
    correlation,
    fields_of,
    headers_of,
    is_logged,
    join,
    lines_of,
    logged,
    read_traceparent,
    read_x_request_id,
    split,
    traceparent_of,
    x_request_id_of,
)
from flash.http.correlating import Correlations, correlate

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = b"00-" + TRACE + b"-00f067aa0ba902b7-01"
ONE = correlation(b"req-1", PARENT)


@pytest.mark.parametrize(
    "value",
    [b"a", b"0193f3c0-7f2a-7b1e-9d55-0242ac120002", b"Root=1-678912-abcdef", b"A.b_c:d/e+f=g@h~i", b"x" * 128],
)
def test_an_x_request_id_that_is_safe_everywhere_is_kept(value: bytes) -> None:
    assert read_x_request_id(value) == value
    assert x_request_id_of(correlate({b"x-request-id": value})) == value


@pytest.mark.parametrize(
    "value",
    [b"", b" ", b"a b", b"a\r\nset-cookie: x", b"a\n", b"\xc3\xa9", b'"', b"<b>", b"a,b", b"x" * 129, b"\0"],
)
def test_any_other_is_made_anew(value: bytes) -> None:
    assert read_x_request_id(value) is None
    assert re.fullmatch(rb"[0-9a-f]{32}", x_request_id_of(correlate({b"x-request-id": value})))


@pytest.mark.parametrize("value", [PARENT, PARENT[:-2] + b"00", PARENT[:-2] + b"ff"])
def test_a_traceparent_of_version_00_is_kept(value: bytes) -> None:
    assert traceparent_of(correlate({b"traceparent": value})) == value


def test_of_a_later_version_the_known_part_is_kept() -> None:
    later = b"cc" + PARENT[2:]
    assert read_traceparent(later) == later
    assert read_traceparent(later + b"-what-comes") == later
    assert read_traceparent(later + b".what-comes") is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"ff" + PARENT[2:],
        PARENT.upper(),
        PARENT[:-1],
        PARENT + b"-00",
        PARENT + b" ",
        b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01",
        b"00-" + TRACE + b"-" + b"0" * 16 + b"-01",
        PARENT.replace(b"-", b"_"),
    ],
)
def test_a_traceparent_that_breaks_the_standard_begins_a_new_trace(value: bytes) -> None:
    assert read_traceparent(value) is None
    made = traceparent_of(correlate({b"traceparent": value}))
    assert read_traceparent(made) == made
    assert made != value
    assert made.endswith(b"-00"), "nobody records it"


def test_each_of_the_two_is_made_if_only_the_other_was_sent() -> None:
    with_id = correlate({b"x-request-id": b"req-1"})
    assert x_request_id_of(with_id) == b"req-1"
    assert read_traceparent(traceparent_of(with_id))
    with_parent = correlate({b"traceparent": PARENT})
    assert re.fullmatch(rb"[0-9a-f]{32}", x_request_id_of(with_parent))


def test_what_is_made_is_unique_and_valid_and_one_name_for_both() -> None:
    one, other = Correlations(), Correlations()
    made = [source.make() for source in (one, other) for _ in range(1_000)]
    assert len({x_request_id_of(found) for found in made}) == len({traceparent_of(found) for found in made}) == 2_000
    for found in made:
        assert read_traceparent(traceparent_of(found)) == traceparent_of(found)
        assert traceparent_of(found)[3:35] == x_request_id_of(found) == read_x_request_id(x_request_id_of(found))


def test_an_answer_and_a_log_line_tell_both() -> None:
    for found in (ONE, logged(ONE)):
        assert headers_of(found) == ((b"x-request-id", b"req-1"), (b"traceparent", PARENT))
        assert lines_of(found) == b"x-request-id: req-1\r\ntraceparent: " + PARENT + b"\r\n"
        assert fields_of(found) == {"x_request_id": "req-1", "trace_id": TRACE.decode()}
    assert (is_logged(ONE), is_logged(logged(ONE))) == (False, True)
    assert (headers_of(UNCORRELATED), lines_of(UNCORRELATED), fields_of(UNCORRELATED)) == ((), b"", {})


def test_a_batch_of_them_arrives_as_it_was_sent() -> None:
    batch = [ONE, UNCORRELATED, logged(ONE)]
    assert split(join(batch), 3) == batch
    assert split(join([UNCORRELATED] * 3), 3) == [UNCORRELATED] * 3
    assert join([UNCORRELATED] * 3) == b""
    assert split(join(batch), 2) == [UNCORRELATED] * 2, "whatever that is, no purchase fails of it"


def test_making_one_is_cheap() -> None:
    fields = {b"host": b"h", b"accept": b"*/*"}
    seconds = min(timeit.repeat(lambda: lines_of(correlate(fields)), number=1_000, repeat=50)) / 1_000
    assert seconds < 4e-6, "0.7 µs on an idle machine"
