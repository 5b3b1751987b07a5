"""One child process, from its start to its end; the only place in this package that starts one to keep it running.

Most of it works without an event loop, since test fixtures and embedded stores have none. `wait` and `stop` are for
Trio tasks. It knows nothing of what runs in the child, and never decides to start it again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TypeAlias

import trio

from flash.processes.run_as import RunAs, ourselves

PIPE = subprocess.PIPE
STDOUT = subprocess.STDOUT
DEVNULL = subprocess.DEVNULL

Steps: TypeAlias = Sequence[tuple[signal.Signals, float]]
"""Signals, each with how many seconds to wait for it to work."""

_KILLED_SECONDS = 10.0
"""How long the kernel may take to end what got SIGKILL."""
_POLL_SECONDS = 0.01


class Child:
    """A process that runs `command` from the moment this object exists.

    `stdin`, `stdout` and `stderr` mean what they mean to `subprocess.Popen`. With `own_session` the terminal's Ctrl-C
    does not reach it, and it leads a process group that `to_group` signals. `death_signal` is sent to it when we die,
    on Linux and if it was started in the main thread. With `run_as` or `death_signal`, `command` needs an absolute
    path.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        directory: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] | None = DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        pass_fds: Sequence[int] = (),
        own_session: bool = False,
        run_as: RunAs | None = None,
        death_signal: signal.Signals | None = None,
    ) -> None:
        self.name = name
        if run_as is not None or death_signal is not None:
            command = (run_as or ourselves()).command(directory or Path.cwd(), command, death_signal)
            directory = None  # the launcher enters it, after the change of user
        # Trio would start it in a thread, and the launcher would take the end of that thread for our death
        self._popen = subprocess.Popen(
            command,
            bufsize=0,
            cwd=directory,
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
            start_new_session=own_session,
        )
        self.stdin, self.stdout = self._popen.stdin, self._popen.stdout

    @property
    def pid(self) -> int:
        return self._popen.pid

    def poll(self) -> int | None:
        """The exit code, negative if a signal ended it; None while it runs."""
        return self._popen.poll()

    def is_running(self) -> bool:
        return self.poll() is None

    def signal(self, how: signal.Signals, *, to_group: bool = False) -> None:
        """Signal it, or everything in the process group that it leads. If it has ended, nothing happens."""
        if to_group:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS refuses a group of zombies
                os.killpg(self.pid, how)
        else:
            self._popen.send_signal(how)

    def kill(self) -> None:
        """SIGKILL."""
        self.signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.signal(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def output(self) -> trio.lowlevel.FdStream:
        """What it writes to `stdout=PIPE`, for a Trio task. Whoever calls this closes it; call it once."""
        assert self.stdout is not None, f"{self.name} was not started with stdout=PIPE"
        with self.stdout:
            return trio.lowlevel.FdStream(os.dup(self.stdout.fileno()))

    async def wait(self) -> int:
        """Wait for its end and return the exit code. Any number of tasks may wait, and each may be cancelled."""
        await trio.lowlevel.checkpoint()
        while (code := self.poll()) is None:
            descriptor = _open_pidfd(self.pid)
            if descriptor is None:
                code = await trio.to_thread.run_sync(self._popen.wait, abandon_on_cancel=True)
                break
            try:
                await trio.lowlevel.wait_readable(descriptor)
            finally:
                os.close(descriptor)
        return code

    async def stop(self, steps: Steps, *, to_group: bool = False) -> bool:
        """Send each signal in turn until it has ended, at last SIGKILL. Return whether that was needed.

        `to_group` signals the group and waits until all of it has ended. Cancellation does not cut this short.
        """
        with trio.CancelScope(shield=True):
            for how, seconds in steps:
                self.signal(how, to_group=to_group)
                with trio.move_on_after(seconds):
                    await self._wait_gone(to_group)
                    return False
            self.signal(signal.SIGKILL, to_group=to_group)
            with trio.move_on_after(_KILLED_SECONDS):
                await self.wait()
        return True

    async def _wait_gone(self, with_group: bool) -> None:
        await self.wait()
        while with_group:
            try:
                os.killpg(self.pid, 0)
            except (ProcessLookupError, PermissionError):
                return
            await trio.sleep(_POLL_SECONDS)  # the rest of the group are not our children, so nothing tells us

    def wait_blocking(self, seconds: float) -> int | None:
        """Wait for its end without an event loop: the exit code, or None if it still runs after `seconds`."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop_blocking(self, steps: Steps) -> bool:
        """`stop` without an event loop, for the process alone."""
        for how, seconds in steps:
            self.signal(how)
            if self.wait_blocking(seconds) is not None:
                return False
        self.kill()
        self.wait_blocking(_KILLED_SECONDS)
        return True


def _open_pidfd(pid: int) -> int | None:
    """A descriptor that is readable once the process has ended; None where the system has none (macOS)."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:  # an old kernel, or a sandbox that refuses it
        return None
