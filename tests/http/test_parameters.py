"""Bad parameters stop at the edge, table by table. Also JSON, problems and headers as plain values."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import quote, quote_plus

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash.http import parameters
from flash.http.message import Request, json_response
from flash.http.parameters import InvalidParameter, read_optional, read_params
from flash.http.problems import problem, retry_after

NAMES = ("user_id", "id")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"user_id=alice&id=7", ("alice", "7")),
        (b"id=7&user_id=alice", ("alice", "7")),
        (b"&&user_id=alice&x=1&x=2&y&id=7&", ("alice", "7")),
        (b"user_id=a=b&id=7", ("a=b", "7")),
        (b"user_id=a;b&id=7", ("a;b", "7")),
        (b"user_id=a+b%20c%2Bd&id=7", ("a b c+d", "7")),
        (b"user%5Fid=alice&%69d=7", ("alice", "7")),
        (b"user_id=%C3%A9%e2%82%AC%F0%9F%98%80&id=7", ("é€😀", "7")),
        (b"user_id=%25%37%37&id=7", ("%77", "7")),
        (b"user_id=%00&id=%2B1", ("\x00", "+1")),  # decoded here, rejected by the validators
        (b"user_id=alice&id=7&other=%zz%FF", ("alice", "7")),
    ],
)
def test_well_formed_queries_are_read_in_any_order_and_unknown_parameters_ignored(
    query: bytes, expected: tuple[str, str]
) -> None:
    assert read_params(query, NAMES) == expected


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        (b"", "user_id is missing"),
        (b"id=7", "user_id is missing"),
        (b"user_id=alice", "id is missing"),
        (b"USER_ID=alice&id=7", "user_id is missing"),
        (b"user_id=alice;id=7", "id is missing"),
        (b"user_id=&id=7", "user_id is empty"),
        (b"user_id&id=7", "user_id is empty"),
        (b"user_id=a&id=7&user_id=a", "user_id must be given only once"),
        (b"user_id=a&id=7&user%5fid=b", "user_id must be given only once"),
        (b"user_id=&id=7&user_id=b", "user_id must be given only once"),
        (b"user_id=%&id=7", "user_id has a malformed percent-escape"),
        (b"user_id=%4&id=7", "user_id has a malformed percent-escape"),
        (b"user_id=%g1&id=7", "user_id has a malformed percent-escape"),
        (b"user_id=%+1&id=7", "user_id has a malformed percent-escape"),
        (b"user_id=%-1&id=7", "user_id has a malformed percent-escape"),
        (b"user_id=%1_&id=7", "user_id has a malformed percent-escape"),
        (b"user_id=%u0041&id=7", "user_id has a malformed percent-escape"),
        (b"user_id=%FF&id=7", "user_id is not valid UTF-8"),
        (b"user_id=%C3&id=7", "user_id is not valid UTF-8"),
        (b"user_id=%80&id=7", "user_id is not valid UTF-8"),
        (b"user_id=%C0%80&id=7", "user_id is not valid UTF-8"),  # an overlong NUL
        (b"user_id=%E0%80%AF&id=7", "user_id is not valid UTF-8"),
        (b"user_id=%ED%A0%80&id=7", "user_id is not valid UTF-8"),  # a lone surrogate
        (b"user_id=%ED%A0%BD%ED%B8%80&id=7", "user_id is not valid UTF-8"),  # a pair of them
        (b"user_id=%F4%90%80%80&id=7", "user_id is not valid UTF-8"),  # above U+10FFFF
        (b"%zz=1&user_id=a&id=7", "a parameter name has a malformed percent-escape"),
        (b"%ff=1&user_id=a&id=7", "a parameter name is not valid UTF-8"),
        (b"user_id=\xc3\xa9&id=7", "the query must be percent-encoded"),
    ],
)
def test_an_ambiguous_query_is_rejected_with_the_parameter_and_the_rule(query: bytes, parameter: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        read_params(query, NAMES)
    assert caught.value.detail == parameter


@given(st.text(min_size=1).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)))
def test_any_text_survives_encoding_and_decoding(text: str) -> None:
    for encode in (quote, quote_plus):
        assert read_params(b"q=" + encode(text, safe="").encode(), ("q",)) == (text,)


@given(st.binary())
def test_no_query_raises_anything_but_invalid_parameter(query: bytes) -> None:
    try:
        values = read_params(query, NAMES)
    except InvalidParameter:
        return
    assert all(values)


def test_an_optional_parameter_may_be_absent_or_empty_but_not_repeated() -> None:
    assert read_optional(b"after=&limit=5", ("available", "after", "limit")) == (None, None, "5")
    with pytest.raises(InvalidParameter):
        read_optional(b"limit=5&limit=5", ("limit",))


@pytest.mark.parametrize("text", ["a", "x" * 64, "😀" * 64, "José", "a b", "z\u2028\u0378", "'; --", "\\"])
def test_any_text_of_1_to_64_characters_without_controls_is_a_user_id(text: str) -> None:
    assert parameters.user_id(text) == text


@pytest.mark.parametrize("text", ["", "x" * 65, "a\x00", "\n", "a\tb", "\x1f", "\x7f", "\x80", "\x9f", "\ud800"])
def test_text_with_controls_or_surrogates_or_of_a_wrong_length_is_not_a_user_id(text: str) -> None:
    with pytest.raises(InvalidParameter, match="user_id"):
        parameters.user_id(text)


@pytest.mark.parametrize(
    ("text", "composed"),
    [
        ("Jose\u0301", "José"),
        ("\u1112\u1161\u11ab", "한"),
        ("\u212b", "Å"),
        ("e\u0301" * 64, "é" * 64),
        ("a\u1f80a", "a\u1f80a"),
        ("\u03b1\u0313\u0345" * 64, "\u1f80" * 64),
        ("\uff21nn", "\uff21nn"),  # wide letters are other letters
        ("\u0958", "\u0915\u093c"),  # NFC is longer here
    ],
)
def test_a_user_id_is_composed_so_that_two_spellings_are_one_buyer(text: str, composed: str) -> None:
    assert parameters.user_id(text) == composed
    assert parameters.user_id(composed) == composed


@pytest.mark.parametrize("text", ["\u0958" * 33, "e\u0301" * 65, "é" * 65, "é" * 100_000])
def test_the_length_of_a_user_id_counts_after_composing(text: str) -> None:
    with pytest.raises(InvalidParameter, match="64 characters"):
        parameters.user_id(text)


@pytest.mark.parametrize(
    "number",
    [
        *(0xAD, 0x034F, 0x061C, 0x180E, 0xFEFF, 0xE0041),
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x206A),
    ],
)
def test_what_cannot_be_seen_is_not_part_of_a_user_id(number: int) -> None:
    with pytest.raises(InvalidParameter, match="no invisible characters"):
        parameters.user_id(f"ann{chr(number)}")


@given(st.text(min_size=1))
def test_a_user_id_that_was_accepted_is_accepted_again_and_stays_the_same(text: str) -> None:
    with suppress(InvalidParameter):
        accepted = parameters.user_id(text)
        assert parameters.user_id(accepted) == accepted


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("10000", 10_000), (str(2**63 - 1), 2**63 - 1)])
def test_a_canonical_decimal_is_an_item_id(text: str, number: int) -> None:
    assert parameters.item_id(text) == number


NOT_CANONICAL = ["", " ", "+1", "007", "00", " 1", "1 ", "1\n", "\t1", "1e3", "1.0", "1_000", "0x10", "1,000"]
NOT_ASCII_DIGITS = ["\uff11\uff12", "\u0661", "²", "one", "1\x00", "inf", "nan"]
OUT_OF_BOUNDS = ["0", "-1", str(2**63), str(2**64), "9" * 5000]


@pytest.mark.parametrize("text", NOT_CANONICAL + NOT_ASCII_DIGITS + OUT_OF_BOUNDS)
def test_any_other_spelling_of_a_number_is_not_an_item_id(text: str) -> None:
    with pytest.raises(InvalidParameter, match=r"^id must be"):
        parameters.item_id(text)


def test_page_bounds_are_checked_like_ids() -> None:
    assert (parameters.limit("1"), parameters.limit("1000"), parameters.after("0")) == (1, 1000, 0)
    for check, text in [
        (parameters.limit, "0"),
        (parameters.limit, "1001"),
        (parameters.after, "-1"),
        (parameters.after, "\uff10"),
    ]:
        with pytest.raises(InvalidParameter):
            check(text)


def test_a_flag_is_true_or_false_and_nothing_else() -> None:
    assert (parameters.flag("true", "available"), parameters.flag("false", "available")) == (True, False)
    with pytest.raises(InvalidParameter, match="available"):
        parameters.flag("True", "available")


@pytest.mark.parametrize("raw", [b"k", b"~" * 128, b'"8e03978e-40d5-43dd-bc93-6894a57f9324"'])
def test_visible_ascii_is_an_idempotency_key(raw: bytes) -> None:
    assert parameters.idempotency_key(raw) == raw.decode()


@pytest.mark.parametrize("raw", [b"", b"k" * 129, b"a b", b"a\tb", b"a\n", b"\x00", b"\x7f", b"\xc3\xa9"])
def test_anything_else_is_not_an_idempotency_key(raw: bytes) -> None:
    with pytest.raises(InvalidParameter, match="Idempotency-Key"):
        parameters.idempotency_key(raw)


@pytest.mark.parametrize("check", [parameters.user_id, parameters.item_id, parameters.limit, parameters.after])
@given(text=st.text())
def test_no_text_breaks_a_validator(check: Callable[[str], object], text: str) -> None:
    with suppress(InvalidParameter):
        check(text)


def test_a_problem_is_compact_json_in_the_order_of_the_contract() -> None:
    answer = problem(410, "sold_out", "The sale is sold out", extra={"sale_id": 3}, headers=(retry_after(0.2),))
    assert answer.body == (
        b'{"type":"/problems/sold_out","title":"The sale is sold out","status":410,'
        b'"detail":"The sale is sold out","code":"sold_out","sale_id":3}'
    )
    assert (answer.status, answer.content_type) == (410, b"application/problem+json")
    assert answer.headers == ((b"retry-after", b"1"),)


@pytest.mark.parametrize(("seconds", "value"), [(-5, b"1"), (0, b"1"), (1, b"1"), (1.01, b"2"), (59.5, b"60")])
def test_retry_after_is_whole_seconds_and_at_least_one(seconds: float, value: bytes) -> None:
    assert retry_after(seconds) == (b"retry-after", value)


def test_json_is_compact_and_its_datetimes_end_in_z() -> None:
    answer = json_response(200, {"at": datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC), "n": [1, 2]})
    assert answer.body == b'{"at":"2026-01-02T03:04:05.600000Z","n":[1,2]}'
    assert orjson.loads(answer.body)["n"] == [1, 2]


def test_a_request_gives_the_first_value_of_a_header_or_all_of_them() -> None:
    request = Request("GET", "/", b"/", b"", [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    assert (request.header(b"a"), request.header(b"c")) == (b"1", None)
    assert request.header_values(b"a") == [b"1", b"3"]
