"""`scripts/bench` from its command line to its exit code.

0, or 1 if anything was untrue or unfinished, 2 for wrong options or settings, 130 if interrupted.
"""

from __future__ import annotations

import signal
import sys

import trio

from benchmarks import options, report
from benchmarks.findings import Findings
from benchmarks.machine import CORES, describe
from benchmarks.suite import Suite
from flash import bridge
from flash.config import Config
from flash.errors import ConfigError, FlashError, OperatorError


def main() -> int:
    try:
        chosen, config = options.parse(sys.argv[1:]), Config.from_env()
        findings = Findings(describe(sys.argv[1:]))
        suite = Suite(chosen, chosen.http or ("hypercorn" if config.http == "hypercorn" else "builtin"), findings)
        if not bridge.run_in_loop(_measure, suite, chosen.timeout, config.database_url):
            sys.stderr.write("flash: interrupted; everything that was started has been stopped\n")
            return 130
        findings.note_disturbances(CORES)
        report.write(findings, chosen)
    except FlashError as error:
        sys.stderr.writelines(f"flash: {line}\n" for line in str(error).splitlines())
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return 130
    return 1 if findings.wrong else 0


async def _measure(suite: Suite, timeout: float, database_url: str | None) -> bool:
    """False if a signal has ended it. Everything that was started is stopped by then."""
    measuring, is_interrupted = trio.CancelScope(deadline=trio.current_time() + timeout), False

    async def interrupt() -> None:
        nonlocal is_interrupted
        async for _ in signals:  # further ones are ignored, so that none breaks the cleanup
            is_interrupted = True
            measuring.cancel()

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt)
            with measuring:
                try:
                    await suite.run(database_url)
                except* FlashError:
                    if not is_interrupted:  # what is being stopped may seem to have died
                        raise
            nursery.cancel_scope.cancel()
    if measuring.cancelled_caught and not is_interrupted:
        raise OperatorError(f"not finished after {timeout:.0f} seconds: raise --timeout, or measure less")
    return not is_interrupted


if __name__ == "__main__":
    sys.exit(main())
