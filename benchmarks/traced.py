"""`python -m benchmarks.traced DIR web|inventory`: the service with time stamps at named methods. A program.

The methods are wrapped from outside before the service starts, so a service that runs without this pays nothing. The
clock is CLOCK_MONOTONIC, which all processes of a machine share. At SIGUSR1, DIR/PID.stamps gets
a line for each stamp so far.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import runpy
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

STAMPED = (
    ("http.parser", "RequestParser", "feed"),
    ("http.connection", "Connection", "_send"),
    ("api.checkout", "CheckoutHandlers", "check_out"),
    ("stores.checkouts", "Checkouts", "record_attempts"),
    ("api.purchase", "PurchaseHandlers", "purchase"),
    ("purchase_rpc.client", "PurchaseClient", "ask"),
    ("purchase_rpc.client", "PurchaseClient", "_add"),
    ("purchase_rpc.client", "PurchaseClient", "_receive"),
    ("purchase_rpc.server", "PurchaseServer", "_deliver"),
    ("purchase_rpc.server", "PurchaseServer", "send"),
    ("actors.inventory", "InventoryActor", "_serve"),
    ("stores.terms", "Terms", "confirm"),
    ("stores.postgres", "Postgres", "write"),
)
"""Modules of `flash`, classes, and methods, each stamped when it is called (`>`) and when it has returned (`<`)."""

_stamps: list[tuple[int, str]] = []


def _stamped(name: str, method: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        _stamps.append((time.perf_counter_ns(), f">{name}"))
        try:
            return method(*args, **kwargs)
        finally:
            _stamps.append((time.perf_counter_ns(), f"<{name}"))

    return call


def _stamped_async(name: str, method: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    @functools.wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        _stamps.append((time.perf_counter_ns(), f">{name}"))
        try:
            return await method(*args, **kwargs)
        finally:
            _stamps.append((time.perf_counter_ns(), f"<{name}"))

    return call


def install() -> None:
    """Raises `AttributeError` if a method has gone: this list must follow the service."""
    for module, kind, name in STAMPED:
        owner = getattr(importlib.import_module(f"flash.{module}"), kind)
        method = getattr(owner, name)
        wrap = _stamped_async if inspect.iscoroutinefunction(method) else _stamped
        setattr(owner, name, wrap(f"{kind}.{name}", method))


def write_on_signal(file: Path) -> None:
    """Whoever sees `file` sees all of it."""

    def write(_number: int, _frame: FrameType | None) -> None:
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text("".join(f"{at} {name}\n" for at, name in _stamps))
        unfinished.rename(file)

    signal.signal(signal.SIGUSR1, write)


if __name__ == "__main__":
    install()
    write_on_signal(Path(sys.argv[1]) / f"{os.getpid()}.stamps")
    sys.argv = ["flash", *sys.argv[2:]]
    runpy.run_module("flash", run_name="__main__", alter_sys=True)
