"""Text from elsewhere, for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` with what might steer the terminal replaced: what came over the network must not."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
