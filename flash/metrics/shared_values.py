"""A file in which the web processes behind one port leave their values, so that whichever is scraped answers for all.

It has no name and needs no store: metrics are wanted most when Redis and PostgreSQL are away. Each process owns a slot,
which is a lock that ends with the process. Whoever takes the slot of one that has died counts on from what that one
had counted, so no counter falls when a process is started again.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import tempfile
import time
import zlib

from flash import __version__
from flash.metrics.values import Values, decode
from flash.telemetry import ThrottledLogger

_SLOT_BYTES = 1 << 20
_HEADER = struct.Struct("<IId")
"""Length, checksum, and when it was written (CLOCK_MONOTONIC, which all processes of a machine share)."""
_SEED = zlib.crc32(__version__.encode())
"""In the checksum, so that what another release has left is not read: its metrics may have other buckets."""
_FRESH_SECONDS = 5.0
"""What is older was left by a process that is no more: its counts count, its gauges do not."""
_TRIES = 5

_warn = ThrottledLogger(logging.getLogger(__name__))


def make_file() -> int:
    """A file for `SharedValues`, without a name. Returns its descriptor, which child processes are to inherit."""
    with tempfile.TemporaryFile(prefix="flash-metrics-") as file:
        return os.dup(file.fileno())


class SharedValues:
    """Our slot and those of the others, `slots_max` in all. It owns `fd`.

    Closing any descriptor of the file would give up our slot, so there must be no other one in this process.
    """

    def __init__(self, fd: int, slots_max: int) -> None:
        self._fd = fd
        self._slots_max = slots_max
        self._slot = self._claim()
        left = None if self._slot is None else self._read(self._slot)
        self._inherited = Values() if left is None else left[0]

    def write(self, values: Values) -> None:
        """Leave our values for the others."""
        if self._slot is None:
            return
        text = self._with_inherited(values).encode()
        if len(text) > _SLOT_BYTES - _HEADER.size:
            _warn("%d bytes of metrics are too many for the other processes to read", len(text))
            return
        header = _HEADER.pack(len(text), zlib.crc32(text, _SEED), time.monotonic())
        os.pwrite(self._fd, header + text, self._slot * _SLOT_BYTES)

    def total(self, values: Values) -> Values:
        """Ours, and what the others have left."""
        total = self._with_inherited(values)
        for slot in range(self._slots_max):
            if slot != self._slot and (found := self._read(slot)) is not None:
                others, written_at = found
                total.add(others, counts_only=time.monotonic() - written_at > _FRESH_SECONDS)
        return total

    def _with_inherited(self, values: Values) -> Values:
        whole = Values()
        whole.add(values)
        whole.add(self._inherited, counts_only=True)
        return whole

    def _claim(self) -> int | None:
        for slot in range(self._slots_max):
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
            except OSError:
                continue
            return slot
        _warn("all %d places for metrics are taken: this process is missing in /metrics", self._slots_max)
        return None

    def _read(self, slot: int) -> tuple[Values, float] | None:
        """What stands there and when it was written; None if nothing does. A write under way is waited for."""
        for _ in range(_TRIES):
            header = os.pread(self._fd, _HEADER.size, slot * _SLOT_BYTES)
            if len(header) < _HEADER.size:
                return None
            length, checksum, written_at = _HEADER.unpack(header)
            if not length:
                return None
            text = os.pread(self._fd, length, slot * _SLOT_BYTES + _HEADER.size)
            if zlib.crc32(text, _SEED) == checksum:
                return decode(text), written_at
        _warn("the metrics of another process could not be read")
        return None
