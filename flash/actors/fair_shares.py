"""How much of what waits may belong to one user. Pure; it does not know what waits, or where.

The slots are divided by the users who wait now, so one who is alone may use all of them, and among many each gets few.
"""

from __future__ import annotations

from collections.abc import Hashable

SHARE_MIN = 4
"""What every user may have waiting, however many users there are."""


class UserShares:
    """At most `slots` requests of one user wait at once, fewer if others wait too."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._share_min = min(SHARE_MIN, slots)
        self._waiting: dict[Hashable, int] = {}

    def enter(self, user: Hashable) -> bool:
        """Whether one more of this user's requests may wait. If so, `leave` is owed."""
        mine = self._waiting.get(user, 0)
        if mine >= self._share_min and mine >= self._slots // len(self._waiting):  # this user is one of those who wait
            return False
        self._waiting[user] = mine + 1
        return True

    def leave(self, user: Hashable) -> None:
        left = self._waiting[user] - 1
        if left:
            self._waiting[user] = left
        else:
            del self._waiting[user]
