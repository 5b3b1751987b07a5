"""The whole service on one machine from one command: embedded stores, the schema, then the processes of the Procfile.

What dies is started again. Whatever ends it (Ctrl-C, SIGTERM, a crash loop, an error at start), the processes are
stopped first and the stores last, and nothing is left running.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import trio

from flash import bridge
from flash.config import Config
from flash.errors import OperatorError
from flash.local.address import address_of, noted
from flash.local.announcement import Announcement
from flash.local.demo import crowd, demo
from flash.local.embedded import datadir, leftovers
from flash.local.output import Output
from flash.local.ports import with_free_ports
from flash.local.procfile import Procfile, process_environment
from flash.local.runner import Runner, pid_file
from flash.local.stop import SIGNALS, Stop
from flash.local.stores import embedded_stores
from flash.shutdown import STORES_STOP_SECONDS, process_stop_seconds
from flash.stores.migration import migrate
from flash.telemetry.logs import wants_json

_READY_SECONDS = 60.0
_POLL_SECONDS = 0.02


def up(config: Config, procfile: Procfile, *, is_demo: bool = False, is_verbose: bool = False) -> int:
    """Run everything until a signal, or until nobody reads our output any more (then 0).

    Raises `OperatorError` if something does not start or keeps dying, and `ConfigError`.
    """
    if is_demo:
        config, procfile = demo(config, procfile)
    is_json = wants_json(config.log_format, is_for_people=sys.stdout.isatty())
    config = replace(config, log_format="json" if is_json else "text")  # our processes write to us, not to a terminal
    output = Output([process.name for process in procfile.processes(0)], is_verbose=is_verbose, is_json=is_json)
    try:
        bridge.run(_until_signal, config, procfile, is_demo, output)
    except BaseException:
        output.failed()
        raise
    output.say("Stopped.")
    return 0


async def _until_signal(config: Config, procfile: Procfile, is_demo: bool, output: Output) -> None:
    stop = Stop(process_stop_seconds(config.drain_seconds) + STORES_STOP_SECONDS)
    # open until all is stopped, since any signal that comes then would otherwise end us in the middle of it
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop.listen, signals)
            nursery.start_soon(_stop_without_reader, output, stop)
            nursery.start_soon(output.count_steps)
            with stop.scope:
                await _run(config, procfile, is_demo, output, stop)
            nursery.cancel_scope.cancel()


async def _stop_without_reader(output: Output, stop: Stop) -> None:
    await output.wait_reader_gone()
    stop.begin()


async def _run(config: Config, procfile: Procfile, is_demo: bool, output: Output, stop: Stop) -> None:
    data_dir = datadir.prepare(config.data_dir)
    stop_seconds = process_stop_seconds(config.drain_seconds)
    with datadir.locked(data_dir):
        leftovers.stop_groups(pid_file(data_dir), "FLASH_DATA_DIR", str(data_dir), stop_seconds)
        config = with_free_ports(config, procfile.web_offsets())  # only now: a leftover may have held a port
        output.step(_first_step(config))
        async with embedded_stores(config, data_dir, stop, output.system) as (config, stores):
            output.step("bringing the schema up to date")
            await _migrate(config)
            processes = procfile.processes(config.port, process_environment(config, data_dir))
            runner = Runner(processes, output, pid_file(data_dir), stop_seconds)
            web = [process for process in processes if process.is_of("web")]
            processes += [crowd(config, web[0])] if is_demo and web else []
            ports = [process.port for process in web]
            addresses = [address_of(config, port) for port in ports]
            announcement = Announcement(config.host, ports, addresses, stores, data_dir, output.style)
            output.step(f"starting {', '.join(process.name for process in processes)}")
            with noted(data_dir, addresses[0] if addresses else None):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(runner.run, stop.event)
                    nursery.start_soon(_announce, announcement, output)


def _first_step(config: Config) -> str:
    missing = [name for name, url in (("PostgreSQL", config.database_url), ("Valkey", config.redis_url)) if not url]
    return f"starting {' and '.join(missing)}" if missing else "using the stores of DATABASE_URL and REDIS_URL"


async def _migrate(config: Config) -> None:
    async with bridge.open_loop():
        await migrate(config.require("database_url"))


async def _announce(announcement: Announcement, output: Output) -> None:
    """Print how to buy, as soon as that is possible. Raises `OperatorError` if it takes too long."""
    with trio.move_on_after(_READY_SECONDS):
        while True:
            text = await trio.to_thread.run_sync(announcement.look, abandon_on_cancel=True)
            if text is not None:
                output.ready(text)
                return
            await trio.sleep(_POLL_SECONDS)
    raise OperatorError(f"the service did not answer within {_READY_SECONDS:.0f} seconds")
