"""The processes of a run: embedded stores, the service as `flash up` would run it but without honcho, baseline
servers, and the load generator. All end with their block, and with us even if we are killed (on Linux).
"""

from __future__ import annotations

import pickle
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import trio

from benchmarks.findings import GENERATOR, Measured, Usage
from benchmarks.load import Address, Plan, generate_load
from benchmarks.machine import ROOT, machine_cpu_seconds, usage_of
from flash.config import environment
from flash.errors import OperatorError
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.processes.child import PIPE, STDOUT, Child
from flash.testing.stores import private_directory

A = TypeVar("A")
R = TypeVar("R")
Stores = tuple[EmbeddedPostgres, EmbeddedValkey]

_START_SECONDS = 20.0
_READY = re.compile(rb"listening on (http://[^\s\"]+)|ready to lead")
# in a session of its own, because the terminal's Ctrl-C is for us alone
_child = partial(Child, directory=ROOT, stdout=PIPE, own_session=True, death_signal=signal.SIGKILL)
# both ends are this package, and the pipe is private
_CALL = "import pickle, sys; f, a = pickle.load(sys.stdin.buffer); pickle.dump(f(a), sys.stdout.buffer)"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the web processes listen, and what runs. At an external target, nothing that runs is ours."""

    addresses: list[Address]
    processes: Sequence[Child | EmbeddedPostgres | EmbeddedValkey] = ()

    async def measure(self, title: str, plan: Plan) -> Measured:
        """Run the load generator, with the CPU and the peak memory of every process."""
        began, others = time.monotonic(), -machine_cpu_seconds()
        before = [usage_of(process.pid)[0] for process in self.processes]
        load = await call_in_child(generate_load, plan)
        used = [Usage(GENERATOR, load.cpu_seconds, load.memory_peak_bytes)]
        for process, earlier in zip(self.processes, before, strict=True):
            seconds, peak = usage_of(process.pid)
            used.insert(-1, Usage(process.name, max(0.0, seconds - earlier), peak))
        others += machine_cpu_seconds() - sum(one.cpu_seconds for one in used)
        window = time.monotonic() - began
        return Measured(title, len(self.addresses), plan.clients, plan.rate, load, used, window, max(0.0, others))


@contextmanager
def running_stores() -> Iterator[Stores]:
    """An empty PostgreSQL and an empty Valkey, with the settings of `flash up`."""
    with private_directory() as folder:
        postgres, valkey = EmbeddedPostgres(folder), EmbeddedValkey(folder)
        try:
            postgres.start()
            valkey.start()
            yield postgres, valkey
        finally:
            valkey.kill()  # nothing of it will be read again
            postgres.stop()
            for place in (postgres.cluster.parent, postgres.socket_dir.parent):
                if place.name.startswith("flash-") and not place.is_relative_to(folder):
                    shutil.rmtree(place, ignore_errors=True)  # where a store goes that may not enter our directory


@asynccontextmanager
async def running(
    programs: Mapping[str, Sequence[str]], python: str = sys.executable, directory: Path = ROOT, /, **settings: str
) -> AsyncIterator[Cluster]:
    """Modules with arguments as processes, which must not die while the block lasts. `settings` are variables."""
    children: list[Child] = []
    async with trio.open_nursery() as nursery:
        try:
            for name, command in programs.items():
                env, command = environment(**settings), [python, "-m", *command]
                children.append(_child(name, command, stderr=STDOUT, env=env, directory=directory))
            with trio.fail_after(_START_SECONDS):
                ready = [await nursery.start(_follow, child) for child in children]
            yield Cluster([address for address in ready if address], children)
        except trio.TooSlowError as error:
            raise OperatorError(f"{', '.join(programs)}: not ready within {_START_SECONDS:.0f} s") from error
        finally:
            nursery.cancel_scope.cancel()  # from here on, a death is no news
            for child in children:
                child.stop_blocking(())


async def _follow(child: Child, task_status: trio.TaskStatus[Address | None]) -> None:
    """Read its log, report its address once it is ready, and raise when it ends."""
    log, is_ready = b"", False
    async with child.output() as output:
        async for piece in output:
            log = (log + piece)[-65_536:]
            if not is_ready and (found := _READY.search(log)):
                is_ready, url = True, urlsplit((found[1] or b"").decode())
                task_status.started((url.hostname, url.port) if url.hostname and url.port else None)
    last = (log.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    raise OperatorError(f"{child.name} has died by itself: {last}")


async def call_in_child(function: Callable[[A], R], argument: A) -> R:
    """`function(argument)` in a process of its own. Raises `OperatorError` if it fails; its traceback is on stderr."""
    with tempfile.TemporaryFile() as stdin:
        pickle.dump((function, argument), stdin)
        stdin.seek(0)
        child = _child(function.__name__, [sys.executable, "-c", _CALL], stdin=stdin, env=environment())
    try:
        async with child.output() as output:
            data = b"".join([piece async for piece in output])
        if code := await child.wait():
            raise OperatorError(f"{child.name} has failed with exit code {code}")
        result: R = pickle.loads(data)
        return result
    finally:
        child.stop_blocking(())
