"""The words of the domain: values that travel between modules, and nothing that acts.

Everything here is frozen. A buyer who is told no gets a `Refusal`; an exception (`flash.errors`) means that the
machinery failed. Times are aware datetimes from the database's clock, never from a host's.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType, TypeVar, dataclass_transform

from flash.correlation import UNCORRELATED, Correlation

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """A frozen dataclass with slots: the type checker refuses changes, and no instance pays for refusing them.

    A dozen values are made for each sale, and one that is frozen at run time takes four times as long to make.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


SaleId = NewType("SaleId", int)
ItemId = NewType("ItemId", int)
CheckoutId = NewType("CheckoutId", int)
UserId = NewType("UserId", str)
Epoch = NewType("Epoch", int)
RequestId = NewType("RequestId", str)
"""Names one purchase request permanently: `key:` and the client's Idempotency-Key, or `auto:` and random text."""

COMMAND_BATCH_MAX = 10_000
"""Purchase commands that travel and are decided together."""
COMMAND_LIFE_SECONDS_MAX = 60
"""Nobody waits for a purchase command longer than this."""


class Refusal(enum.Enum):
    """Why a purchase was not made; the value is the `code` that the client reads."""

    INVALID_CODE = "invalid_code"
    CODE_ALREADY_USED = "code_already_used"
    ITEM_SOLD = "item_sold"
    SOLD_OUT = "sold_out"
    USER_LIMIT_REACHED = "user_limit_reached"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    NO_ROOM = "no_room"
    PAUSED = "paused"

    @property
    def may_pass(self) -> bool:
        """Whether the same command may sell when it is decided again. All other refusals are final."""
        return self in _PASSING


_PASSING = frozenset(map(Refusal, ("no_room", "paused")))


class CheckoutOutcome(enum.Enum):
    """What became of a checkout attempt; the value is what `checkouts.outcome` stores."""

    ISSUED = "issued"
    INVALID_REQUEST = "invalid_request"
    ITEM_NOT_FOUND = "item_not_found"
    SALE_NOT_OPEN = "sale_not_open"
    ITEM_SOLD = "item_sold"
    SOLD_OUT = "sold_out"


@value
class Code:
    """What a checkout code says once its tag has been verified: all that a decision needs.

    `issued_at` is in whole seconds since 1970 by the database's clock. `user_digest` stands for the buyer: enough to
    count by, and nobody reads a name in it. `is_legacy`: the buyer holds a code of release 0.1; its row has no digest.
    """

    sale_id: SaleId
    checkout_id: CheckoutId
    item_id: ItemId
    issued_at: int
    user_digest: bytes
    is_legacy: bool = False


@value
class LegacyCode:
    """What a code of release 0.1 says. The rest stands in its checkout's row, beside the same 16 random bytes."""

    sale_id: SaleId
    checkout_id: CheckoutId
    secret: bytes


@value
class Attempt:
    """One well-formed call of POST /checkout. The item need not exist."""

    user_id: UserId
    item_id: ItemId
    correlation: Correlation = field(default=UNCORRELATED, compare=False)


@value
class MalformedAttempt:
    """A call of POST /checkout that could not be read. `query` is its query string as it came, cut short."""

    query: bytes
    correlation: Correlation = field(default=UNCORRELATED, compare=False)


@value
class RecordedAttempt:
    """How an attempt was recorded. `code` is set if one was issued, `opens_in_seconds` if it came too early."""

    outcome: CheckoutOutcome
    code: Code | None = None
    opens_in_seconds: float = 0.0


@value
class Command:
    """A buyer's request to redeem a code. The same `request_id` again is the same request.

    `correlation` is what logs and traces call it, and says nothing of what it is.
    """

    code: Code
    request_id: RequestId
    correlation: Correlation = field(default=UNCORRELATED, compare=False)


@value
class Purchase:
    """One item sold. `slot` numbers the buyer's purchases within the sale, from 1."""

    checkout_id: CheckoutId
    request_id: RequestId
    item_id: ItemId
    user_id: UserId
    slot: int
    purchased_at: datetime


@value
class Redemption:
    """What the database knows of a code. `is_valid`: its checkout is there and has not expired.

    `is_sold_out`: its sale has no item left now, whatever was known of it before.
    """

    is_valid: bool
    purchase: Purchase | None
    is_sold_out: bool = False


@value
class Approved:
    """The buyer shall get the item. It is not sold before it is stored, and until then nobody hears of it."""

    code: Code
    request_id: RequestId
    slot: int


@value
class Redeemed:
    """This very code has bought before; its receipt stands in the database."""

    checkout_id: CheckoutId


@value
class Confirmed:
    """What the database made of a batch of decisions.

    Either it stored all that was approved: `sold` has the purchases in the same order, and `now` is the time by its
    clock. Or it stored nothing, because the checkouts of `missing` are not there, or because the sale is paused.
    `receipts` are the earlier purchases that were asked for. `is_paused`: the operator has paused the sale.
    """

    now: datetime | None
    sold: list[Purchase]
    missing: list[Approved]
    receipts: list[Purchase]
    is_paused: bool = False


@value
class Sold:
    """The buyer gets the item, and that is stored."""

    purchase: Purchase


@value
class Repeated:
    """The same request has bought before. Give the same answer again."""

    purchase: Purchase


@value
class Refused:
    """No, and why. CODE_ALREADY_USED carries what the code has bought, USER_LIMIT_REACHED the sale's limit."""

    refusal: Refusal
    purchase: Purchase | None = None
    user_limit: int | None = None


Outcome = Sold | Repeated | Refused
Decision = Approved | Redeemed | Refused
"""What the rules say, before the database has confirmed it."""


@value
class Sale:
    """One sale as it was at one moment. Its items are `first_item_id` … `first_item_id + stock - 1`."""

    id: SaleId
    starts_at: datetime
    first_item_id: ItemId
    stock: int
    user_limit: int
    sold: int
    is_open: bool
    """Whether it has begun, by the database's clock; a sold-out sale has begun too."""

    @property
    def remaining(self) -> int:
        return self.stock - self.sold

    @property
    def status(self) -> str:
        """`upcoming`, `open` or `sold_out`."""
        if not self.remaining:
            return "sold_out"
        return "open" if self.is_open else "upcoming"

    @property
    def item_ids(self) -> range:
        return range(self.first_item_id, self.first_item_id + self.stock)


@value
class SaleLook:
    """An unsold sale as one look showed it. `token` is that of its present term, None if it never had one."""

    starts_at: datetime
    item_ids: range
    sold: int
    token: bytes | None


@value
class SalesLook:
    """What one look at the sales showed, at `now` by the database's clock: each unsold one."""

    now: datetime
    newest: SaleId
    sales: Mapping[SaleId, SaleLook]


@value
class Pause:
    """That a sale sells nothing for now: by whom, who is an operator, and since when by the database's clock."""

    by: str
    at: datetime


@value
class RecordedPause:
    """What an operator did: `action` is `pause` or `resume`, `sold` what the sale had sold by then."""

    sale_id: SaleId
    action: str
    at: datetime
    by: str
    reason: str
    sold: int


@value
class Term:
    """The right to decide for one sale until another term begins.

    A database that takes over with less than its predecessor may count the same epoch again: only the random `token`
    tells the two terms apart.
    """

    sale_id: SaleId
    epoch: Epoch
    token: bytes
