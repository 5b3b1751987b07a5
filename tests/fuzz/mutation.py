"""How a right value becomes a wrong one. Everything follows from the luck that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

BYTES = (b"\x00", b"\xff", b"\r\n", b"\n", b" ", b"%00", b"%ff", b"\xed\xa0\x80", b"9" * 20, b"-", b"[", b"{", b'"')

NUMBERS = (0, -1, 1, 2, 2**15 - 1, 2**15, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, -(2**31), -(2**63))
"""The edges of what a column, a struct or a browser can hold."""

TEXTS = (
    *(
        "",
        " ",
        "0",
        "-0",
        "+1",
        "1e3",
        "nan",
        "inf",
        "None",
        "null",
        "\u0967\u0968",
        "\uff11",
        "\x01",
        "\x7f",
        "\u2028",
        "\ufeff",
    ),
    *(
        "é",
        "e\u0301",
        "\u202eexe",
        "👩‍👩‍👧",
        "ﬀ",
        "ß",
        "İ",
        "x" * 300,
        "x" * 70_000,
        "'; --",
        "<script>",
        "%s%n",
        "../" * 5,
    ),
)


def mutate(luck: Random, data: bytes, tokens: Sequence[bytes] = BYTES) -> bytes:
    """`data` with some bytes changed, removed, doubled or inserted."""
    changed = bytearray(data)
    for _ in range(luck.choice((1, 1, 2, 4))):
        at, length = luck.randrange(len(changed) + 1), luck.randrange(1, 9)
        change = luck.randrange(5)
        if change == 0:
            changed[at : at + 1] = bytes([luck.randrange(256)])
        elif change == 1:
            del changed[at : at + length]
        elif change == 2:
            changed[at:at] = changed[at : at + length * 4]
        elif change == 3:
            changed[at:at] = luck.choice(tokens)
        else:
            changed[at : at + length] = luck.choice(tokens)
    return bytes(changed)


def mutate_text(luck: Random, text: str) -> str:
    """As an environment or a terminal may hold it: bytes that are no UTF-8 become lone surrogates."""
    return mutate(luck, text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def odd_text(luck: Random) -> str:
    return luck.choice(TEXTS) if luck.random() < 0.8 else "".join(map(chr, luck.choices(range(1, 0xD7FF), k=8)))


def odd_number(luck: Random) -> int:
    return luck.choice(NUMBERS) if luck.random() < 0.8 else luck.getrandbits(luck.randrange(1, 65))


def in_pieces(data: bytes, luck: Random) -> list[bytes]:
    ends = sorted(luck.randrange(len(data) + 1) for _ in range(luck.choice((1, 3, 8))))
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]
