"""Who is refused on a full disk and for how long, on a clock that is driven."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from flash.actors.disk_space import MEASURE_SECONDS, REMEMBER_SECONDS, SHED_SECONDS, DiskSpace, SheddingCheckouts
from flash.domain import MalformedAttempt
from flash.errors import FlashError, StorageFull, Unavailable
from tests.api.fakes import FakeCheckouts

ATTEMPT = MalformedAttempt(b"")
MINIMUM = 1_000


@dataclass
class Disk:
    free: int | FlashError | None = None

    async def measure(self) -> int | None:
        if isinstance(self.free, FlashError):
            raise self.free
        return self.free


async def test_after_a_full_disk_nobody_is_let_through_for_some_seconds(mock_clock: MockClock) -> None:
    checkouts, space = FakeCheckouts(StorageFull("no room")), DiskSpace(Disk().measure, 0)
    shedding = SheddingCheckouts(checkouts, space)
    for tries in (1, 2, 3):
        for _ in range(10):
            with pytest.raises(StorageFull):
                await shedding.ask(ATTEMPT)
        assert len(checkouts.asked) == tries, "one finds out, and the others are refused at once"
        mock_clock.jump(SHED_SECONDS - 1)
        with pytest.raises(StorageFull) as caught:
            await shedding.ask(ATTEMPT)
        assert caught.value.retry_after_seconds == pytest.approx(1)
        mock_clock.jump(1.01)
        assert space.is_low
    checkouts.outcome = FakeCheckouts().outcome
    await shedding.ask(ATTEMPT)
    assert not space.is_low, "room was made"


async def test_a_full_disk_is_forgotten_if_nobody_finds_out(mock_clock: MockClock) -> None:
    space = DiskSpace(Disk().measure, 0)
    space.note_full(StorageFull("no room"))
    mock_clock.jump(REMEMBER_SECONDS - 0.01)
    assert space.is_low
    mock_clock.jump(0.02)
    assert not space.is_low


async def test_a_store_that_is_merely_away_is_no_full_disk() -> None:
    checkouts, space = FakeCheckouts(Unavailable("gone")), DiskSpace(Disk().measure, 0)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await SheddingCheckouts(checkouts, space).ask(ATTEMPT)
    assert len(checkouts.asked) == 2
    assert not space.is_low


@pytest.mark.parametrize(
    ("free", "minimum", "is_low"),
    [(MINIMUM - 1, MINIMUM, True), (MINIMUM, MINIMUM, False), (None, MINIMUM, False), (0, 0, False), (0, 1, True)],
)
async def test_less_than_the_minimum_is_low(free: int | None, minimum: int, is_low: bool) -> None:
    space = DiskSpace(Disk(free).measure, minimum)
    await space.measure()
    assert space.is_low is is_low
    assert bool(space.shed_seconds()) is is_low


async def test_the_disk_is_measured_each_second_and_what_is_unknown_changes_nothing(autojump_clock: MockClock) -> None:
    disk = Disk(MINIMUM - 1)
    space = DiskSpace(disk.measure, MINIMUM)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(space.run)
        await trio.sleep(MEASURE_SECONDS / 2)
        assert space.is_low
        disk.free = Unavailable("gone")
        await trio.sleep(MEASURE_SECONDS)
        assert space.is_low
        disk.free = MINIMUM
        await trio.sleep(MEASURE_SECONDS)
        assert not space.is_low
        nursery.cancel_scope.cancel()


async def test_a_batch_beside_the_one_that_found_no_room_does_not_prove_that_there_is(mock_clock: MockClock) -> None:
    space = DiskSpace(Disk().measure, 0)
    space.note_full(StorageFull("no room"))
    space.note_stored()
    assert space.shed_seconds() == SHED_SECONDS
    mock_clock.jump(SHED_SECONDS)
    space.note_stored()
    assert not space.is_low
