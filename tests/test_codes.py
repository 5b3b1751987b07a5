"""Codes: a sealed code opens to what it was, and nothing else opens."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash.codes import (
    CODE_CHARACTERS,
    DIGEST_BYTES,
    KEY_BYTES,
    PACKED_BYTES,
    TAG_BYTES,
    CodeKeys,
    Codes,
    digest_user,
    pack,
    unpack,
)
from flash.domain import CheckoutId, Code, ItemId, LegacyCode, SaleId, UserId
from tests.codes import a_code

OLD, NEW, LEGACY = b"k" * KEY_BYTES, b"n" * KEY_BYTES, b"l" * KEY_BYTES
CODES = Codes(CodeKeys({1: OLD}, 1, LEGACY))
OTHERS = Codes(CodeKeys({1: b"o" * KEY_BYTES}, 1))
CODE = a_code(4_711, sale=17, item=160_005, issued_at=1_767_268_800)

any_code = st.builds(
    Code,
    st.integers(1, 2**32 - 1).map(SaleId),
    st.integers(1, 2**48 - 1).map(CheckoutId),
    st.integers(1, 2**48 - 1).map(ItemId),
    st.integers(0, 2**32 - 1),
    st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES),
)


@given(any_code)
def test_a_sealed_code_opens_to_what_it_was(code: Code) -> None:
    text = CODES.seal(code)
    assert len(text) == CODE_CHARACTERS
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)
    assert CODES.open(text) == code


@given(any_code, st.booleans())
def test_packing_loses_nothing(code: Code, is_legacy: bool) -> None:
    code = Code(code.sale_id, code.checkout_id, code.item_id, code.issued_at, code.user_digest, is_legacy)
    assert len(pack(code)) == PACKED_BYTES
    assert unpack(pack(code)) == code


@pytest.mark.parametrize("packed", [b"", pack(CODE)[:-1], pack(CODE) + b"\0", pack(CODE)[:-1] + b"\2"])
def test_what_was_not_packed_is_not_unpacked(packed: bytes) -> None:
    with pytest.raises(ValueError, match="packed code"):
        unpack(packed)


@given(st.text(max_size=80))
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
    other_sale = CODES.seal(a_code(4_711, sale=18, item=160_005, issued_at=1_767_268_800))
    text = CODES.seal(CODE)
    assert CODES.open(other_sale[:8] + text[8:]) is None


@pytest.mark.parametrize(
    "spelling",
    [
        lambda t: t + "=",
        lambda t: t + "\n",
        lambda t: " " + t[1:],
        lambda t: t[:-1] + "+",
        lambda t: t.replace("-", "+").replace("_", "/"),
    ],
)
def test_only_the_canonical_spelling_opens(spelling) -> None:  # type: ignore[no-untyped-def]
    text = next(t for n in range(1, 99) if "-" in (t := CODES.seal(a_code(n))) and "_" in t)
    assert CODES.open(text) is not None
    assert CODES.open(spelling(text)) is None


def test_the_tag_is_long_enough_not_to_be_guessed() -> None:
    assert TAG_BYTES * 8 >= 128


def test_a_code_shows_no_user() -> None:
    user = UserId("a-user-with-a-long-name")
    raw = urlsafe_b64decode(CODES.seal(a_code(1, user=user)))
    assert user.encode() not in raw
    assert digest_user(OLD, user) != digest_user(NEW, user)
    assert digest_user(OLD, user) == digest_user(OLD, user)


def test_keys_are_rotated_while_older_codes_live_on() -> None:
    codes = Codes(CodeKeys({1: OLD}, 1))
    before = codes.seal(CODE)
    codes.set_keys(CodeKeys({1: OLD, 2: NEW}, 2))
    after = codes.seal(CODE)
    assert before != after
    assert codes.open(before) == codes.open(after) == CODE
    codes.set_keys(CodeKeys({2: NEW}, 2))
    assert codes.open(before) is None
    assert codes.open(after) == CODE


def test_a_code_of_a_key_that_is_not_known_yet_is_told_from_a_forged_one() -> None:
    ahead = Codes(CodeKeys({1: OLD, 2: NEW}, 2)).seal(CODE)
    assert CODES.open(ahead) is None
    assert CODES.has_unknown_key(ahead)
    assert not CODES.has_unknown_key(OTHERS.seal(CODE))
    assert not CODES.has_unknown_key("x" * 5)


def test_a_code_of_the_first_release_opens_with_its_own_key() -> None:
    payload = (17).to_bytes(5, "big") + (4_711).to_bytes(6, "big") + b"0123456789abcdef"
    text = urlsafe_b64encode(payload + blake2b(payload, key=LEGACY, digest_size=9).digest()).decode()
    assert CODES.open(text) == LegacyCode(SaleId(17), CheckoutId(4_711), b"0123456789abcdef")
    assert CODES.open(text[:-1] + ("A" if text[-1] != "A" else "B")) is None
    assert OTHERS.open(text) is None, "that cluster never had a first release"
    assert Codes(CodeKeys({1: OLD}, 1, OLD)).open(text) is None


def test_keys_are_not_shown() -> None:
    assert "kkkk" not in repr(CodeKeys({1: OLD}, 1, LEGACY))
