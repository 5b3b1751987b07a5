"""`scripts/drill` from its command line to its exit code.

0 if nothing contradicts the promises, 1 with the evidence if something does, 2 for wrong options, 130 if interrupted.
"""

from __future__ import annotations

import shlex
import signal
import sys

import trio

from drill import namespaces, options, report, verdict
from drill.network import NAMESPACES
from drill.running import run
from drill.verdict import Record
from flash.errors import ConfigError, FlashError


def main() -> int:
    try:
        chosen = options.parse(sys.argv[1:])
        if missing := options.left_out(chosen):
            _say(f"not with --network {chosen.network}: {', '.join(missing)}")
        if not chosen.faults:
            raise ConfigError("no fault is left")
        if chosen.network == NAMESPACES:
            namespaces.move_into_own()
        command = shlex.join(["scripts/drill", *sys.argv[1:]])
        record = trio.run(_interruptible, chosen, command)
        if record is None:
            _say("interrupted; everything that was started has been stopped")
            return 130
        if chosen.report is not None:
            chosen.report.write_text(report.page(record))
    except FlashError as error:
        _say(str(error))
        return 2 if isinstance(error, ConfigError) else 1
    sys.stdout.writelines(f"{line}\n" for line in verdict.lines(record))
    return 0 if record.is_clean else 1


async def _interruptible(chosen: options.Options, command: str) -> Record | None:
    """None if a signal has ended it. Everything that was started is stopped by then."""
    record: Record | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:

            async def interrupt() -> None:
                async for _ in signals:  # further ones change nothing, so that none breaks the cleanup
                    nursery.cancel_scope.cancel()

            nursery.start_soon(interrupt)
            record = await run(chosen, command, _say)
            nursery.cancel_scope.cancel()
    return record


def _say(text: str) -> None:
    sys.stderr.write(f"flash: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
