"""What processes tell about themselves, and that nobody else can."""

from __future__ import annotations

import re
from importlib import resources
from typing import get_args

import pytest

from flash.board.messages import (
    SAMPLE_FIELD,
    SEAL_FIELD,
    VERSION_FIELD,
    Card,
    Led,
    Mark,
    MarkKind,
    Queue,
    Sample,
    decode_card,
    decode_sample,
    encode_card,
    encode_sample,
)
from tests.deployments import DEPLOYMENT, OTHER_DEPLOYMENT

SAMPLE = Sample("a", 1.5, 10, 20, 9, {"sold": 9, "item_sold": 1}, [0, 9, 0], [Mark(0.5, "take_over", "h:1 took over")])
CARD = Card(
    "a", "web", "h", 1, "1.0", 1.5, [Queue("checkouts", 3, 0.1), Queue("x", 0, None)], {"redis": "away"}, [Led(1, 2, 3)]
)


def test_what_was_told_is_what_is_read() -> None:
    assert decode_sample(DEPLOYMENT, encode_sample(DEPLOYMENT, SAMPLE)) == SAMPLE
    assert decode_card(DEPLOYMENT, "a", encode_card(DEPLOYMENT, CARD)) == CARD


@pytest.mark.parametrize("field", [SAMPLE_FIELD, SEAL_FIELD, VERSION_FIELD])
def test_a_sample_that_was_changed_is_refused(field: bytes) -> None:
    fields = encode_sample(DEPLOYMENT, SAMPLE)
    with pytest.raises(ValueError, match="seal"):
        decode_sample(DEPLOYMENT, {**fields, field: fields[field] + b"1"})
    del fields[field]
    with pytest.raises(ValueError, match="seal"):
        decode_sample(DEPLOYMENT, fields)


def test_what_another_deployment_tells_is_refused() -> None:
    with pytest.raises(ValueError, match="seal"):
        decode_sample(DEPLOYMENT, encode_sample(OTHER_DEPLOYMENT, SAMPLE))
    with pytest.raises(ValueError, match="seal"):
        decode_card(DEPLOYMENT, "a", encode_card(OTHER_DEPLOYMENT, CARD))


def test_a_card_counts_only_where_its_process_has_put_it() -> None:
    with pytest.raises(ValueError, match="seal"):
        decode_card(DEPLOYMENT, "b", encode_card(DEPLOYMENT, CARD))


@pytest.mark.parametrize("text", [b"", b"x", b"x" * 400])
def test_a_card_that_is_no_card_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="seal"):
        decode_card(DEPLOYMENT, "a", text)


def test_a_process_that_leads_two_hundred_sales_tells_that_in_a_few_kilobytes() -> None:
    card = Card("a", "inventory", "h", 1, "1.0", 1.5, led=[Led(n, 1_000, 3_600.0) for n in range(200)])
    assert len(encode_card(DEPLOYMENT, card)) < 12_000


def test_the_control_room_has_a_tone_for_every_kind_of_mark() -> None:
    script = (resources.files("flash.pages") / "control" / "main.js").read_text()
    tones = re.search(r"const TONES = \{(.*?)\};", script, re.DOTALL)
    assert tones is not None
    assert sorted(re.findall(r"(\w+):", tones[1])) == sorted(get_args(MarkKind))
