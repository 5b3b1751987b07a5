"""Parameters in a body: the same values as in a query, the same strictness, and nothing guessed about what it is."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash.http.body_parameters import UnsupportedMediaType, read_request
from flash.http.message import Header, Request
from flash.http.parameters import InvalidParameter

NAMES = ("user_id", "id")
FORM, JSON = b"application/x-www-form-urlencoded", b"application/json"


def read(body: bytes, *content_types: bytes, query: bytes = b"", headers: tuple[Header, ...] = ()) -> tuple[str, ...]:
    types = [(b"content-type", content_type) for content_type in content_types]
    return read_request(Request("POST", "/", b"/", query, [*headers, *types], body=body), NAMES)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"user_id=zo%C3%AB+x&id=7", FORM),
        (b"other=1&other=2&id=7&user%5Fid=zo%c3%ab%20x", b"application/X-WWW-Form-URLencoded ; charset=UTF-8"),
        ('{"user_id":"zoë x","id":"7"}'.encode(), JSON),
        (b'{ "id": 7, "user_id": "zo\\u00eb x", "other": [{"id": 1}], "other": null }', JSON),
        ('{"user_id":"zoë x","id":7}'.encode(), b'Application/JSON;charset="utf-8"'),
        ('{"user_id":"zoë x","id":7}'.encode(), b"application/json; charset=us-ascii; x=y"),
    ],
)
def test_a_form_and_a_json_object_say_what_a_query_says(body: bytes, content_type: bytes) -> None:
    assert read(body, content_type) == ("zoë x", "7")


def test_query_and_body_may_share_the_parameters() -> None:
    assert read(b"id=7", FORM, query=b"user_id=a") == ("a", "7")
    assert read(b'{"user_id":"a"}', JSON, query=b"id=7&other=1") == ("a", "7")


@pytest.mark.parametrize(
    ("body", "content_type", "query", "detail"),
    [
        (b"id=7", FORM, b"", "user_id is missing"),
        (b"user_id=&id=7", FORM, b"", "user_id is empty"),
        (b"user_id=a&id=7&id=7", FORM, b"", "id must be given only once"),
        (b"user_id=a&id=7", FORM, b"id=7", "id must be given only once, in the query or in the body"),
        (b"user_id=&id=7", FORM, b"user_id=a", "user_id must be given only once, in the query or in the body"),
        (b"user_id=%zz&id=7", FORM, b"", "user_id has a malformed percent-escape"),
        (b"user_id=%FF&id=7", FORM, b"", "user_id is not valid UTF-8"),
        (b"user_id=\xc3\xa9&id=7", FORM, b"", "the body must be percent-encoded"),
        (b"{}", JSON, b"", "user_id is missing"),
        (b'{"user_id":"","id":7}', JSON, b"", "user_id is empty"),
        (b'{"user_id":"a","id":7,"id":7}', JSON, b"", "id must be given only once"),
        (b'{"user_id":"a","\\u0069d":7,"id":8}', JSON, b"", "id must be given only once"),
        (b'{"user_id":"a","id":7}', JSON, b"id=7", "id must be given only once, in the query or in the body"),
        (b'{"user_id":7,"id":7}', JSON, b"", "user_id must be a string"),
        (b'{"user_id":null,"id":7}', JSON, b"", "user_id must be a string"),
        (b'{"user_id":["a"],"id":7}', JSON, b"", "user_id must be a string"),
        (b'{"user_id":"a","id":true}', JSON, b"", "id must be a string or a whole number"),
        (b'{"user_id":"a","id":7.0}', JSON, b"", "id must be a string or a whole number"),
        (b'{"user_id":"a","id":1e3}', JSON, b"", "id must be a string or a whole number"),
        (b'{"user_id":"a","id":{}}', JSON, b"", "id must be a string or a whole number"),
        *(
            (body, JSON, b"", "the body is not well-formed JSON in UTF-8")
            for body in (
                b"{",
                b'{"user_id":"a","id":7}x',
                b'{"user_id":"\xff","id":7}',
                b'\xef\xbb\xbf{"id":7}',
                b'{"id":NaN}',
                b'{"id":-Infinity}',
                b"[" * 8_000,
                b'{"id":' * 1_300,
                b'{"id":' + b"9" * 5_000 + b"}",
                b"user_id=a&id=7",
            )
        ),
        *(
            (body, JSON, b"", "the body must be a JSON object")
            for body in (b"[]", b'"a"', b"7", b"null", b'[["id",7]]')
        ),
    ],
)
def test_an_ambiguous_body_is_rejected_with_the_rule(
    body: bytes, content_type: bytes, query: bytes, detail: str
) -> None:
    with pytest.raises(InvalidParameter) as caught:
        read(body, content_type, query=query)
    assert caught.value.detail == detail


@pytest.mark.parametrize(
    "content_types",
    [
        (),
        (b"",),
        (b"text/plain",),
        (b"multipart/form-data; boundary=x",),
        (b"application/json-patch+json",),
        (b"application/xml",),
        (b"*/*",),
        (JSON, JSON),
        (FORM, JSON),
        (JSON + b"; charset=utf-16",),
        (FORM + b"; charset=iso-8859-1",),
        (b"\xff",),
    ],
)
def test_any_other_kind_of_body_is_unsupported_even_if_the_query_says_all(content_types: tuple[bytes, ...]) -> None:
    with pytest.raises(UnsupportedMediaType):
        read(b'{"user_id":"a","id":7}', *content_types, query=b"user_id=a&id=7")


def test_a_compressed_body_is_unsupported() -> None:
    with pytest.raises(UnsupportedMediaType, match="compressed"):
        read(b"user_id=a&id=7", FORM, headers=((b"content-encoding", b"gzip"),))


@given(st.text(max_size=80), st.integers())
def test_json_and_form_agree(user: str, number: int) -> None:
    def outcome(body: bytes, content_type: bytes) -> object:
        try:
            return read(body, content_type)
        except InvalidParameter as error:
            return error.detail

    with suppress(UnicodeEncodeError, orjson.JSONEncodeError):
        form = f"user_id={quote(user)}&id={quote(str(number))}".encode()
        json = b'{"user_id":%b,"id":%d}' % (orjson.dumps(user), number)
        assert outcome(form, FORM) == outcome(json, JSON)


@given(st.binary(max_size=300), st.sampled_from([FORM, JSON]))
def test_no_body_raises_anything_else(body: bytes, content_type: bytes) -> None:
    with suppress(InvalidParameter):
        assert all(read(body, content_type))
