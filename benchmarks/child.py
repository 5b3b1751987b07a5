"""Calls one of our functions in a process of its own. A program: function and plan come in, the result goes out.

Both are pickled, since both ends are this package and the pipe is private.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trio

from flash.config import environment
from flash.errors import OperatorError

Plan = TypeVar("Plan")
Result = TypeVar("Result")

ROOT = Path(__file__).resolve().parents[1]


async def call_in_child(function: Callable[[Plan], Result], plan: Plan) -> Result:
    """`function(plan)`. If cancelled, the process is killed.

    Raises `OperatorError` if it fails; its traceback is on our stderr.
    """
    try:
        done = await trio.run_process(
            [sys.executable, "-m", "benchmarks.child"],
            stdin=pickle.dumps((function, plan)),
            capture_stdout=True,
            env=environment(PYTHONPATH=str(ROOT)),
            start_new_session=True,  # the terminal's Ctrl-C is for us alone
            deliver_cancel=_kill,
        )
    except subprocess.CalledProcessError as error:
        raise OperatorError(f"{function.__module__} has failed with exit code {error.returncode}") from error
    result: Result = pickle.loads(done.stdout)
    return result


async def _kill(process: trio.Process) -> None:
    process.kill()


if __name__ == "__main__":
    function, plan = pickle.load(sys.stdin.buffer)
    pickle.dump(function(plan), sys.stdout.buffer)
