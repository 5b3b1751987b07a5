"""The embedded stores of `flash up`: started if no URL is set for them, started again if they die, stopped last."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from flash.config import Config
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.local.embedded.store import READY_POLL_SECONDS, Store
from flash.local.stop import Stop
from flash.processes.supervisor import keep_running

_READY_SECONDS = 60.0


@asynccontextmanager
async def embedded_stores(
    config: Config, data_dir: Path, stop: Stop, report: Callable[[str], None]
) -> AsyncIterator[tuple[Config, list[Store]]]:
    """Keep the needed stores running while the block lasts; `config` with their URLs.

    Raises `OperatorError` if one does not start, `CrashLoop` if one keeps dying. `report` gets a sentence about each
    death.
    """
    stores: list[Store] = []
    try:
        if config.database_url is None:  # the server itself is started by this thread, with which it would die
            await trio.to_thread.run_sync(EmbeddedPostgres(data_dir).prepare)
        config = _launch(config, data_dir, stores)
        for store in stores:
            if not await _becomes_ready(store):
                raise store.start_error()
        async with trio.open_nursery() as nursery:
            for store in stores:
                live = partial(_live, store, report)
                keep = partial(keep_running, store.name, live, stop.event, report=report, why=store.last_words)
                nursery.start_soon(keep)
            yield config, stores
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for store in stores:
                    nursery.start_soon(_stop, store, stop.seconds_left())


def _launch(config: Config, data_dir: Path, stores: list[Store]) -> Config:
    """Start all before waiting for any. What is in `stores` must be stopped, even if this raises."""
    if config.database_url is None:
        stores.append(postgres := EmbeddedPostgres(data_dir))
        postgres.launch()
        config = replace(config, database_url=postgres.url)
    if config.redis_url is None:
        stores.append(valkey := EmbeddedValkey(data_dir))
        valkey.launch()
        config = replace(config, redis_url=valkey.url)
    return config


async def _live(store: Store, report: Callable[[str], None]) -> int:
    """One life of a store: start it unless it is running, and wait for its end."""
    if not store.is_running():
        store.launch()
        if await _becomes_ready(store):
            report(f"{store.name} is back (pid {store.pid})")
    return await store.child.wait()


async def _becomes_ready(store: Store) -> bool:
    """Wait until it answers; False if it ends before, by itself or because it takes too long."""
    with trio.move_on_after(_READY_SECONDS):
        while not store.is_ready():
            if not store.is_running():
                return False
            await trio.sleep(READY_POLL_SECONDS)
        return True
    store.kill()
    return False


async def _stop(store: Store, seconds: float) -> None:
    if store.is_running():
        await store.child.stop(store.stop_steps(seconds))
