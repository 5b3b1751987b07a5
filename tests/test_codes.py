"""Codes: a sealed code opens to what it was, and nothing else opens."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash.codes import CODE_CHARACTERS, KEY_BYTES, SECRET_BYTES, Codes, pack, unpack
from flash.domain import CheckoutId, Code, SaleId

CODES = Codes(b"k" * KEY_BYTES)
OTHERS = Codes(b"o" * KEY_BYTES)
CODE = Code(SaleId(17), CheckoutId(4_711), b"0123456789abcdef")

any_code = st.builds(
    Code,
    st.integers(1, 2**40 - 1).map(SaleId),
    st.integers(1, 2**48 - 1).map(CheckoutId),
    st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES),
)


@given(any_code)
def test_a_sealed_code_opens_to_what_it_was(code: Code) -> None:
    text = CODES.seal(code)
    assert len(text) == CODE_CHARACTERS
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)
    assert CODES.open(text) == code


@given(any_code)
def test_packing_loses_nothing(code: Code) -> None:
    assert unpack(pack(code)) == code


@given(st.text(max_size=60))
def test_text_that_was_not_sealed_does_not_open(text: str) -> None:
    assert CODES.open(text) is None


@given(st.integers(0, CODE_CHARACTERS - 1), st.sampled_from("ABCxyz019_-"))
def test_a_code_with_another_character_anywhere_does_not_open(place: int, character: str) -> None:
    text = CODES.seal(CODE)
    forged = text[:place] + character + text[place + 1 :]
    assert CODES.open(forged) == (CODE if forged == text else None)


@pytest.mark.parametrize("length", range(CODE_CHARACTERS))
def test_a_truncated_code_does_not_open(length: int) -> None:
    assert CODES.open(CODES.seal(CODE)[:length]) is None


def test_a_code_of_another_cluster_does_not_open() -> None:
    assert CODES.open(OTHERS.seal(CODE)) is None


def test_a_code_cannot_be_moved_to_another_sale() -> None:
    other_sale = CODES.seal(Code(SaleId(18), CODE.checkout_id, CODE.secret))
    text = CODES.seal(CODE)
    assert CODES.open(other_sale[:8] + text[8:]) is None


@pytest.mark.parametrize(
    "spelling", [lambda t: t + "=", lambda t: t + "\n", lambda t: " " + t[1:], lambda t: t[:-1] + "+"]
)
def test_only_the_canonical_spelling_opens(spelling) -> None:  # type: ignore[no-untyped-def]
    assert CODES.open(spelling(CODES.seal(CODE))) is None
