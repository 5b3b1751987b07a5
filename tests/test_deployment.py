"""The names of a deployment in Redis, and its seal."""

from __future__ import annotations

import pytest

from flash.deployment import MESSAGE_KEY_BYTES, SEAL_BYTES, Deployment

OURS = Deployment("0011223344556677", b"k" * MESSAGE_KEY_BYTES)
OTHER = Deployment("8899aabbccddeeff", b"o" * MESSAGE_KEY_BYTES)


def test_two_deployments_share_no_key() -> None:
    assert OURS.key("{sale:1}:inbox") != OTHER.key("{sale:1}:inbox")


def test_a_seal_is_known_by_its_own_deployment_alone() -> None:
    seal = OURS.seal(b"inbox", b"payload")
    assert len(seal) == SEAL_BYTES
    assert OURS.is_sealed(seal, b"inbox", b"payload")
    assert not OTHER.is_sealed(seal, b"inbox", b"payload")


@pytest.mark.parametrize("parts", [(b"inbox", b"payloaD"), (b"inboxp", b"ayload"), (b"inbox",), (b"payload", b"inbox")])
def test_a_seal_is_over_these_parts_in_this_order(parts: tuple[bytes, ...]) -> None:
    assert not OURS.is_sealed(OURS.seal(b"inbox", b"payload"), *parts)


@pytest.mark.parametrize("seal", [b"", b"x", b"x" * SEAL_BYTES])
def test_something_else_is_no_seal(seal: bytes) -> None:
    assert not OURS.is_sealed(seal, b"payload")


def test_the_key_is_not_shown() -> None:
    assert "kkkk" not in repr(OURS)
