"""What a leader tells the web processes: the items that one batch has sold. Names and entries of the stream. Pure.

Redis is not believed: an entry carries a seal over its version and payload, and one without it changes nothing. The
random token of the term stands in it, since a database that took over with less may count an epoch twice.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from flash.deployment import Deployment
from flash.domain import Epoch, ItemId, SaleId, Term, value

VERSION = 1
VERSION_FIELD, SOLD_FIELD, SEAL_FIELD = b"v", b"p", b"s"

Fields = dict[bytes, bytes]

_DIRECTION = b"sold"
_HEAD = struct.Struct("<QQ16sQQ")  # sale, epoch, token, sold, the id that the offsets behind it are counted from
_OFFSET_BYTES = 4


@value
class SoldBatch:
    """The items that one commit of `term` has sold. `sold` counts all that the sale had sold then, these included."""

    term: Term
    sold: int
    item_ids: Sequence[ItemId]


def sold_key(deployment: Deployment) -> str:
    """The one stream of the deployment."""
    return deployment.key("sold")


def encode_sold(deployment: Deployment, batch: SoldBatch) -> Fields:
    """The entry for the stream. Its items must not be further apart than a sale is large."""
    term, first = batch.term, min(batch.item_ids)
    offsets = [item_id - first for item_id in batch.item_ids]
    head = _HEAD.pack(term.sale_id, term.epoch, term.token, batch.sold, first)
    payload = head + struct.pack(f"<{len(offsets)}I", *offsets)
    version = b"%d" % VERSION
    return {VERSION_FIELD: version, SOLD_FIELD: payload, SEAL_FIELD: deployment.seal(*_sealed(version, payload))}


def decode_sold(deployment: Deployment, fields: Mapping[bytes, bytes]) -> SoldBatch:
    """Raises `ValueError` unless a process of this deployment has made the entry, and in this version."""
    version, payload = fields.get(VERSION_FIELD, b""), fields.get(SOLD_FIELD, b"")
    if not deployment.is_sealed(fields.get(SEAL_FIELD, b""), *_sealed(version, payload)):
        raise ValueError("its seal is not ours")
    if version != b"%d" % VERSION:
        raise ValueError(f"its version is {version!r}, and this release reads {VERSION}")
    count, rest = divmod(len(payload) - _HEAD.size, _OFFSET_BYTES)
    if count < 1 or rest:
        raise ValueError(f"{len(payload)} bytes are no batch of items")
    sale_id, epoch, token, sold, first = _HEAD.unpack_from(payload)
    offsets = struct.unpack_from(f"<{count}I", payload, _HEAD.size)
    return SoldBatch(Term(SaleId(sale_id), Epoch(epoch), token), sold, [ItemId(first + n) for n in offsets])


def _sealed(version: bytes, payload: bytes) -> tuple[bytes, bytes, bytes]:
    return _DIRECTION, version, payload
