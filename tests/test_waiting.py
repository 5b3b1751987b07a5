"""A test that waits for too long says for what."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from flash.testing.cluster import until
from tests.waiting import waited_for


async def too_slow() -> BaseException:
    with pytest.raises(trio.TooSlowError) as caught:  # noqa: PT012 (a nursery and its time-out are one thing)
        with trio.fail_after(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                await until(lambda: False, seconds=9)
    return caught.value


async def test_a_time_out_names_the_line_that_waited(autojump_clock: MockClock) -> None:
    (text,) = waited_for(await too_slow())
    assert "tests/test_waiting.py" in text
    assert "await until(lambda: False, seconds=9)" in text
    assert "flash/testing/cluster.py" in text


async def test_it_is_found_in_the_groups_that_nurseries_make(autojump_clock: MockClock) -> None:
    error = BaseExceptionGroup("outer", [ValueError("another"), ExceptionGroup("inner", [RuntimeError("more")])])
    assert waited_for(error) == []
    slow = await too_slow()
    assert len(waited_for(BaseExceptionGroup("outer", [ValueError("another"), slow]))) == 1
