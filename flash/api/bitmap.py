"""Flags as a bitmap: an eighth of their size, and readable in every language. Pure."""

from __future__ import annotations

_DIGITS = bytes.maketrans(b"\0\1", b"01")


def bitmap(flags: bytes) -> bytes:
    """A bit for each byte of `flags`: that of the k-th is bit k % 8, counted from the lowest, of byte k // 8."""
    digits = flags[::-1].translate(_DIGITS)
    return int(digits, 2).to_bytes((len(flags) + 7) // 8, "little")
