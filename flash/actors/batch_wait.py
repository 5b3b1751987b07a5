"""How long batches take, and how long one more request would wait behind those that wait. Pure: times are given.

A queue that is served in batches is not measured in requests: a hundred cost little more than one. What counts is how
many batches are ahead, and how long the recent ones took.
"""

from __future__ import annotations

_WEIGHT = 0.2


class BatchDuration:
    """The recent duration of a batch, in seconds. A longer one counts at once, a shorter one by and by."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def note(self, seconds: float) -> None:
        self.seconds = max(seconds, self.seconds + _WEIGHT * (seconds - self.seconds))


class BatchWait:
    """The estimated wait in a queue that `workers` serve in batches of at most `batch_max`.

    It admits what would wait for at most `wait_max_seconds`. Nothing is known before the first batch has ended, so
    everything is admitted until the first one takes longer than that.
    """

    def __init__(self, *, batch_max: int, workers: int, wait_max_seconds: float) -> None:
        self._batch_max = batch_max
        self._workers = workers
        self._wait_max_seconds = wait_max_seconds
        self._duration = BatchDuration()
        self._under_way = 0
        self._moved_at = 0.0

    def begin(self, now: float) -> float:
        """A batch begins; return what `end` must be given."""
        self._under_way += 1
        self._moved_at = now
        return now

    def end(self, begun_at: float, now: float) -> None:
        """A batch has ended, whatever became of it."""
        self._under_way -= 1
        self._moved_at = now
        self._duration.note(now - begun_at)

    def seconds(self, waiting: int, now: float) -> float:
        """What one more request would wait if so many wait already, until its own batch has ended."""
        if self._under_way < self._workers:
            return self._duration.seconds * (1 + waiting / (self._batch_max * self._workers))
        # All workers are busy. If none has begun or ended anything for long, a batch takes at least that long.
        each = max(self._duration.seconds, now - self._moved_at)
        return each * (1 + (1 + waiting // self._batch_max) / self._workers)

    def admits(self, waiting: int, now: float) -> bool:
        """Whether one more would wait for a time that is admitted.

        The batch that forms while others are under way is always filled, however slow they are, unless nothing moves:
        a slow store serves more in a batch, not fewer sooner.
        """
        is_moving = self._under_way < self._workers or now - self._moved_at <= self._wait_max_seconds
        if is_moving and waiting < self._batch_max:
            return True
        return self.seconds(waiting, now) <= self._wait_max_seconds
