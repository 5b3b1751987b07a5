"""Which purchases may wait in this web process: the rules, by sale and by user. Pure: the time is given.

Each sale has a window: how many of its commands may wait here. What waits is rate times wait (Little's law), so
scaling the window by the wait that is aimed at, divided by the one measured, leads there in one step. Every web process
measures the same queue, that of the sale's leader, so any number of them agree without speaking to each other. A window
is scaled at most once in the time that a command takes from here to its answer: an earlier answer tells of the queue as
it was before, and would make it swing.
"""

from __future__ import annotations

from collections.abc import Hashable

from flash.actors.fair_shares import UserShares
from flash.domain import SaleId
from flash.errors import Overloaded

PROBES = 4
"""A sale may always have this many waiting: they find out when its leader is back."""
_SIZE_MIN = 16.0
"""A window is not scaled below this: a leader whose commits are slow serves more in a batch, not fewer sooner."""
AIM = 0.6
"""The wait that is aimed at, as a part of the longest one that is admitted."""
_FORGET_SECONDS = 5.0
"""How fast a window returns to its first size while its sale is answered quickly."""
_SALES_MAX = 1_024
"""Windows that are remembered of sales in which nothing waits."""
_RETRY_SECONDS_MAX = 10.0


class Ticket:
    """One admitted command. Whoever gets it owes `done`."""

    __slots__ = ("_admission", "_user", "_window", "admitted_at", "rank")

    def __init__(
        self, admission: Admission, window: SaleWindow, user: Hashable | None, rank: int, admitted_at: float
    ) -> None:
        self._admission = admission
        self._window = window
        self._user = user
        self.rank = rank
        """How many of its sale waited here when it came, itself included."""
        self.admitted_at = admitted_at

    def done(self, now: float, *, is_answered: bool) -> None:
        """It waits no more. `is_answered`: its leader has decided it; otherwise it failed, or was given up."""
        self._admission._leave(self._window, self._user)
        self._window.leave(self, now, is_answered)


class Admission:
    """Admits what will probably wait for less than `wait_max_seconds`, and at most `waiting_max` at once.

    A sale gets no more than what is still free for the others. `window` is how many of a sale may wait before anything
    is known of its leader.
    """

    def __init__(
        self,
        *,
        waiting_max: int,
        wait_max_seconds: float,
        window: int,
        user_shares: UserShares,
    ) -> None:
        self._waiting_max = waiting_max
        self._wait_max_seconds = wait_max_seconds
        self._first_window = window
        self._users = user_shares
        self._waiting = 0
        self.refused_by_sale = self.refused_by_user = 0
        self._windows: dict[SaleId, SaleWindow] = {}

    @property
    def waiting(self) -> int:
        return self._waiting

    def wait_seconds(self, now: float) -> float:
        """The longest estimated wait among the sales for which somebody waits."""
        return max((window.wait_seconds(now) for window in self._windows.values() if window.waiting), default=0.0)

    def admit(self, sale_id: SaleId, user: Hashable | None, now: float) -> Ticket:
        """Raises `Overloaded`, with the seconds after which to try again, if the command should not wait here."""
        window = self._windows.get(sale_id) or self._open(sale_id)
        # What is free must be more than what the sale has already: a sick sale leaves room, however many are sick.
        if self._waiting + window.waiting >= self._waiting_max or not window.has_room(now):
            self.refused_by_sale += 1
            raise self._refusal(window, now, "too many purchases of this sale are waiting")
        if user is not None and not self._users.enter(user):
            self.refused_by_user += 1
            raise self._refusal(window, now, "too many requests of this user are waiting")
        self._waiting += 1
        return Ticket(self, window, user, window.enter(now), now)

    def _leave(self, window: SaleWindow, user: Hashable | None) -> None:
        self._waiting -= 1
        if user is not None:
            self._users.leave(user)

    def _open(self, sale_id: SaleId) -> SaleWindow:
        if len(self._windows) >= _SALES_MAX:
            self._windows = {sale: window for sale, window in self._windows.items() if window.waiting}
        window = self._windows[sale_id] = SaleWindow(self._first_window, self._wait_max_seconds)
        return window

    def _refusal(self, window: SaleWindow, now: float, reason: str) -> Overloaded:
        window.refused += 1
        return Overloaded(reason, retry_after_seconds=retry_after(window.retry_seconds(now)))


def retry_after(seconds: float) -> float:
    """What a refused buyer is told. The jitter is added where it is worded, in `http.problems`."""
    return min(seconds, _RETRY_SECONDS_MAX)


class SaleWindow:
    """How many commands of one sale may wait here, and what is known of how long they do."""

    def __init__(self, size: int, wait_max_seconds: float) -> None:
        self.size = float(size)
        self.waiting = 0
        self.refused = 0
        self._first_size = float(size)
        self._wait_max_seconds = wait_max_seconds
        self._wait_seconds = 0.0
        self._adjusted_at = -1.0
        self._heard_at = -1.0
        self._busy_since = 0.0
        self._admitted = 0
        self._peak = 0
        self._refused_share = 0.0

    def has_room(self, now: float) -> bool:
        """Whether one more command would be answered in time, as far as this process can tell."""
        if self.waiting < PROBES:
            return True
        # `_blocked_seconds` without its two calls of `max`: this runs for every command
        since = now - self._wait_max_seconds
        return self.waiting < self.size and (self._heard_at >= since or self._busy_since >= since)

    def enter(self, now: float) -> int:
        """Take one in; return how many wait then."""
        if not self.waiting:
            self._busy_since = now
            if now - self._adjusted_at >= _FORGET_SECONDS:  # what it was like before says nothing any more
                self.size = max(self.size, self._first_size)
        self.waiting += 1
        self._admitted += 1
        if self.waiting > self._peak:
            self._peak = self.waiting
        return self.waiting

    def leave(self, ticket: Ticket, now: float, is_answered: bool) -> None:
        self.waiting -= 1
        waited = now - ticket.admitted_at
        if is_answered:
            self._heard_at = now
            if ticket.admitted_at >= self._adjusted_at:
                self._adjust(ticket.rank, waited, now)
        elif waited > self._wait_max_seconds and self._heard_at < ticket.admitted_at:
            self.size = PROBES  # it waited all its life while nobody was answered: the sale has no leader
            self._wait_seconds, self._adjusted_at = waited, now

    def retry_seconds(self, now: float) -> float:
        """When to try again: how long it would take at the present rate to serve the refused as well. At least 1."""
        wait = self.wait_seconds(now)
        refused_share = max(self._refused_share, self.refused / max(self._admitted, self.waiting, 1))
        return max(1.0, wait * (1.0 + refused_share))

    def wait_seconds(self, now: float) -> float:
        """What a command waits, as far as the latest answer tells, and how long there has been none."""
        return max(self._wait_seconds, self._blocked_seconds(now))

    def _blocked_seconds(self, now: float) -> float:
        """The wait that is known without an answer: nobody has been answered for so long."""
        return now - max(self._heard_at, self._busy_since) if self.waiting else 0.0

    def _adjust(self, rank: int, waited: float, now: float) -> None:
        """Scale by what a command waited that came after the last scaling: at most to half, at most to twice."""
        aim = AIM * self._wait_max_seconds
        if waited > aim:
            self.size = min(self.size, max(_SIZE_MIN, self.size / 2, rank * aim / waited))
        else:
            back = min(1.0, (now - self._adjusted_at) / _FORGET_SECONDS)
            # Far from the aim, what waits is a batch or two rather than a queue: its length says more than one rank.
            used = 2 * self._peak if waited < aim / 4 else rank * min(2.0, aim / waited)
            self.size = max(used, self.size + (self._first_size - self.size) * back)
        self._peak = self.waiting
        self._refused_share = self.refused / max(self._admitted, 1)
        self.refused = self._admitted = 0
        self._wait_seconds, self._adjusted_at = waited, now
