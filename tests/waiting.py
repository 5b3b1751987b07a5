"""What a test waited for when its time was over: trio's `TooSlowError` alone does not say it.

The lines are found in the exception that was under way when the time-out struck.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

import trio

_ROOT = str(Path(__file__).resolve().parents[1])
_LINES_MAX = 8


def waited_for(error: BaseException) -> list[str]:
    """For each task that `error` has found waiting too long: its innermost lines of the project, outermost first."""
    return [" -> ".join(lines) for slow in _leaves(error, trio.TooSlowError) for lines in _waits(slow) if lines]


def _waits(slow: BaseException) -> Iterator[list[str]]:
    interrupted = slow.__context__
    for cancelled in [] if interrupted is None else _leaves(interrupted, trio.Cancelled):
        frames = traceback.extract_tb(cancelled.__traceback__)
        ours = [f for f in frames if f.filename.startswith(_ROOT) and "site-packages" not in f.filename]
        yield [f"{f.filename.removeprefix(_ROOT + '/')}:{f.lineno}: {f.line}" for f in ours[-_LINES_MAX:]]


def _leaves(error: BaseException, kind: type[BaseException]) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner, kind)
    elif isinstance(error, kind):
        yield error
