"""The leaders' end of the feed: what a batch has sold travels with its replies, in the same round trip.

It must never make a purchase fail. An entry that is lost costs the visitors of the web processes half a second of
staleness, and no buyer anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from flash.deployment import Deployment
from flash.domain import Outcome, Sold, Term
from flash.sold_feed.messages import SoldBatch, encode_sold, sold_key
from flash.stores.redis_link import RedisCommand, flat

D_contra = TypeVar("D_contra", contravariant=True)

ENTRIES_MAX = 256
"""A web process that is further behind reads PostgreSQL instead."""
_STREAM_MS = 60_000
"""How long the stream outlives the last sale."""

# `pcall`, and no error is answered: a key of the wrong type, say, would end the term of every leader after each batch.
# A stream that takes no entry any more, because somebody has used its last id, makes way for a new one; what is no
# stream is moved aside by the subscribers.
_ADD = """
local function add() return redis.pcall('XADD', KEYS[1], 'MAXLEN', ARGV[1], '*', unpack(ARGV, 3)) end
local added = add()
if type(added) == 'table' and added.err and not string.find(added.err, 'WRONGTYPE', 1, true) then
    redis.pcall('DEL', KEYS[1])
    add()
end
redis.pcall('PEXPIRE', KEYS[1], ARGV[2])
return 0
"""


def sold_entry(deployment: Deployment, batch: SoldBatch) -> RedisCommand:
    """The command that tells every web process of `batch`. Its answer is never an error."""
    entry = flat(encode_sold(deployment, batch))
    return ("EVAL", _ADD, 1, sold_key(deployment), ENTRIES_MAX, _STREAM_MS, *entry)


class Replies(Protocol[D_contra]):
    async def send(
        self, answers: Iterable[tuple[D_contra, Outcome | None]], also: Sequence[RedisCommand] = ()
    ) -> Callable[[], Awaitable[None]] | None:
        """Reply, and perform `also` in the same round trip, after the replies. Returns what is to be told later."""
        ...


class PublishingReplies(Generic[D_contra]):
    """The replies of one term, which began when the sale had sold `sold`. They come batch by batch, in order."""

    def __init__(self, replies: Replies[D_contra], deployment: Deployment, term: Term, sold: int) -> None:
        self._replies = replies
        self._deployment = deployment
        self._term = term
        self._sold = sold

    async def send(self, answers: Iterable[tuple[D_contra, Outcome | None]]) -> Callable[[], Awaitable[None]] | None:
        """Send `answers`, and tell what they sold. Returns and raises what the replies do."""
        answers = list(answers)
        items = [outcome.purchase.item_id for _, outcome in answers if isinstance(outcome, Sold)]
        if not items:
            return await self._replies.send(answers)
        self._sold += len(items)
        entry = sold_entry(self._deployment, SoldBatch(self._term, self._sold, items))
        return await self._replies.send(answers, (entry,))
