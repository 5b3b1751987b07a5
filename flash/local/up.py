"""The whole service on one machine from one command: embedded stores, the schema, then the processes of the Procfile.

What dies is started again. Whatever ends it (Ctrl-C, SIGTERM, a crash loop, an error at start), the processes are
stopped first and the stores last, and nothing is left running.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import trio

from flash import bridge
from flash.config import Config
from flash.errors import OperatorError
from flash.local.announcement import Announcement
from flash.local.embedded import datadir, leftovers
from flash.local.output import Output
from flash.local.ports import with_free_ports
from flash.local.procfile import Procfile, process_environment, read_procfile
from flash.local.runner import Runner, pid_file
from flash.local.stop import SIGNALS, Stop
from flash.local.stores import embedded_stores
from flash.shutdown import STORES_STOP_SECONDS, process_stop_seconds
from flash.stores.migration import migrate
from flash.telemetry.logs import wants_json

_READY_SECONDS = 60.0
_POLL_SECONDS = 0.02


def up(config: Config, concurrency: str | None = None, path: Path | None = None) -> int:
    """Run everything until a signal (then 0). Raises `OperatorError` if something does not start or keeps dying.

    `concurrency` is like `web=2,inventory=2`, `path` a Procfile; `ConfigError` if either is wrong.
    """
    procfile = read_procfile(path, concurrency)
    is_json = wants_json(config.log_format, is_for_people=sys.stdout.isatty())
    config = replace(config, log_format="json" if is_json else "text")  # our processes write to us, not to a terminal
    output = Output([process.name for process in procfile.processes(0)], is_json=is_json)
    bridge.run(_until_signal, config, procfile, output)
    output.say("Stopped.")
    return 0


async def _until_signal(config: Config, procfile: Procfile, output: Output) -> None:
    stop = Stop(process_stop_seconds(config.drain_seconds) + STORES_STOP_SECONDS)
    # open until all is stopped, since any signal that comes then would otherwise end us in the middle of it
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop.listen, signals)
            with stop.scope:
                await _run(config, procfile, output, stop)
            nursery.cancel_scope.cancel()


async def _run(config: Config, procfile: Procfile, output: Output, stop: Stop) -> None:
    data_dir = datadir.prepare(config.data_dir)
    stop_seconds = process_stop_seconds(config.drain_seconds)
    with datadir.locked(data_dir):
        leftovers.stop_groups(pid_file(data_dir), "FLASH_DATA_DIR", str(data_dir), stop_seconds)
        config = with_free_ports(config, procfile.web_offsets())  # only now: a leftover may have held a port
        async with embedded_stores(config, data_dir, stop, output.system) as (config, stores):
            await _migrate(config)
            processes = procfile.processes(config.port, process_environment(config, data_dir))
            runner = Runner(processes, output, pid_file(data_dir), stop_seconds)
            announcement = Announcement(config, [p.port for p in processes if p.is_of("web")], stores, data_dir)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(runner.run, stop.event)
                nursery.start_soon(_announce, announcement, output)


async def _migrate(config: Config) -> None:
    async with bridge.open_loop():
        await migrate(config.require("database_url"))


async def _announce(announcement: Announcement, output: Output) -> None:
    """Print how to buy, as soon as that is possible. Raises `OperatorError` if it takes too long."""
    with trio.move_on_after(_READY_SECONDS):
        while True:
            text = await trio.to_thread.run_sync(announcement.look, abandon_on_cancel=True)
            if text is not None:
                output.say(text)
                return
            await trio.sleep(_POLL_SECONDS)
    raise OperatorError(f"the service did not answer within {_READY_SECONDS:.0f} seconds")
