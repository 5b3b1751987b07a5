"""What a process tells the others about itself: names and sealed values in Redis. Pure.

A `Sample` goes to one stream, once a second: what the process has counted since its start, so that one that is lost
costs nothing, and what has happened. A `Card` is a key of the process's own that it writes over: what it is, and what
is true only now. Redis is not believed: what carries no seal of ours is not shown.

No wall clock is read. What happened is said by its age, and Redis's clock dates the entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from flash.deployment import SEAL_BYTES, Deployment

KEPT_SECONDS = 300
"""What the board shows, back from now."""
VERSION = 1
VERSION_FIELD, SAMPLE_FIELD, SEAL_FIELD = b"v", b"p", b"s"

Fields = dict[bytes, bytes]

_SAMPLE, _CARD = b"board sample", b"board card"


MarkKind = Literal[
    "process_started", "process_stopped", "process_lost", "store_lost", "store_back", "take_over", "term_failed"
]
"""The control room's page shows each in a tone of its own."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that a person would want to see on a chart, `age_seconds` ago."""

    age_seconds: float
    kind: MarkKind
    text: str


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process `name` has counted since it started, `age_seconds` ago.

    `sold` are items sold as their leader, `requests` the requests answered. `outcomes` are checkouts and purchases by
    what became of them. `bought` is how many purchases succeeded, `purchase_seconds` their buckets (`SECONDS_BOUNDS`).
    """

    name: str
    age_seconds: float
    sold: int = 0
    requests: int = 0
    bought: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    purchase_seconds: Sequence[int] = ()
    marks: Sequence[Mark] = ()


@dataclass(frozen=True, slots=True)
class Queue:
    """How many wait, and how long whoever comes now would; None if that is not estimated."""

    name: str
    waiting: int
    wait_seconds: float | None


@dataclass(frozen=True, slots=True)
class Led:
    """A sale that the process leads, for so long. Epoch 0: nobody buys, and its term begins when somebody does."""

    sale_id: int
    epoch: int
    for_seconds: float


@dataclass(frozen=True, slots=True)
class Card:
    """What a process is. `errors`: by store, what was wrong when it was last looked at; nothing was if it is empty."""

    name: str
    role: str
    host: str
    pid: int
    version: str
    age_seconds: float
    queues: Sequence[Queue] = ()
    errors: Mapping[str, str] = field(default_factory=dict)
    led: Sequence[Led] = ()

    @property
    def label(self) -> str:
        return f"{self.role} {self.host}:{self.pid}"


def stream_key(deployment: Deployment) -> str:
    return deployment.key("board")


def card_key(deployment: Deployment, name: str) -> str:
    return deployment.key(f"board:{name}")


def encode_sample(deployment: Deployment, sample: Sample) -> Fields:
    """The entry for the stream."""
    payload, version = orjson.dumps(sample), b"%d" % VERSION
    return {VERSION_FIELD: version, SAMPLE_FIELD: payload, SEAL_FIELD: deployment.seal(_SAMPLE, version, payload)}


def decode_sample(deployment: Deployment, fields: Mapping[bytes, bytes]) -> Sample:
    """Raises `ValueError` unless a process of this deployment has made the entry, and in this version."""
    version, payload = fields.get(VERSION_FIELD, b""), fields.get(SAMPLE_FIELD, b"")
    if not deployment.is_sealed(fields.get(SEAL_FIELD, b""), _SAMPLE, version, payload):
        raise ValueError("its seal is not ours")
    values = _read(version, payload)
    return Sample(**{**values, "marks": [Mark(**mark) for mark in values["marks"]]})


def encode_card(deployment: Deployment, card: Card) -> bytes:
    """The value of the process's own key."""
    payload, version = orjson.dumps(card), b"%d" % VERSION
    seal = deployment.seal(_CARD, card_key(deployment, card.name).encode(), version, payload)
    return seal + version + b" " + payload


def decode_card(deployment: Deployment, name: str, text: bytes) -> Card:
    """Raises `ValueError` unless the process `name` of this deployment has written it, and in this version."""
    seal, (version, _, payload) = text[:SEAL_BYTES], text[SEAL_BYTES:].partition(b" ")
    if not deployment.is_sealed(seal, _CARD, card_key(deployment, name).encode(), version, payload):
        raise ValueError("its seal is not ours")
    values = _read(version, payload)
    return Card(
        **{
            **values,
            "queues": [Queue(**queue) for queue in values["queues"]],
            "led": [Led(**led) for led in values["led"]],
        }
    )


def _read(version: bytes, payload: bytes) -> dict[str, Any]:
    if version != b"%d" % VERSION:
        raise ValueError(f"its version is {version!r}, and this release reads {VERSION}")
    values: dict[str, Any] = orjson.loads(payload)
    return values
