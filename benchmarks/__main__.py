"""`scripts/bench` from its command line to its exit code.

0, or 1 if anything was untrue or unfinished, 2 for wrong options or settings, 130 if interrupted.
"""

from __future__ import annotations

import signal
import sys

import orjson
import trio
from rich.console import Console

from benchmarks import machine, options, report
from benchmarks.findings import Findings
from benchmarks.load.generator import raise_file_limit
from benchmarks.suite import Suite
from flash import bridge
from flash.config import Config
from flash.errors import ConfigError, FlashError, OperatorError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WIDTH_MIN = 120


def main() -> int:
    try:
        chosen = options.parse(sys.argv[1:])
        config = Config.from_env()
        findings = Findings(machine.describe(sys.argv[1:]))
        raise_file_limit()  # the children inherit it
        if not trio.run(_run, chosen, config, findings):
            sys.stderr.write("flash: interrupted; everything that was started has been stopped\n")
            return 130
        _report(findings, chosen)
    except* FlashError as group:
        error = _first(group)
        sys.stderr.writelines(f"flash: {line}\n" for line in str(error).splitlines())
        code = 2 if isinstance(error, ConfigError) else 1
    except* KeyboardInterrupt:
        code = 130
    else:
        code = 1 if findings.wrong else 0
    return code


def _first(group: BaseExceptionGroup[FlashError]) -> FlashError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, FlashError)
    return error


async def _run(chosen: options.Options, config: Config, findings: Findings) -> bool:
    """Measure everything; False if a signal has ended it. Everything that was started is stopped by then."""
    http = chosen.http or ("hypercorn" if config.http == "hypercorn" else "builtin")
    suite = Suite(chosen, http, findings, Console(stderr=True, highlight=False))
    if not chosen.rate:
        findings.not_measured.append("an open loop, whose latencies count from when a visit was due: ask with --rate")
    findings.not_measured.append("more than one host, a network, and a disk other than this machine's")
    is_finished = False

    async def measure() -> None:
        nonlocal is_finished
        with trio.move_on_after(chosen.timeout):
            async with bridge.open_loop():
                await (suite.run_external(chosen.url, config.database_url) if chosen.url else suite.run())
            is_finished = True
        if not is_finished:
            seconds = f"{chosen.timeout:.0f} seconds"
            raise OperatorError(f"not finished after {seconds}: raise --timeout, or measure less")
        nursery.cancel_scope.cancel()

    with trio.open_signal_receiver(*_SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(measure)
            async for _ in signals:
                nursery.cancel_scope.cancel()
    findings.note_disturbances()
    return is_finished


def _report(findings: Findings, chosen: options.Options) -> None:
    console = Console(highlight=False)
    report.print_report(findings, Console(highlight=False, width=max(console.width, _WIDTH_MIN)))
    if chosen.json is not None:
        chosen.json.write_bytes(orjson.dumps(findings, option=orjson.OPT_INDENT_2, default=bytes.decode))
    if chosen.html is not None or chosen.docs is not None:
        from benchmarks import html, plots  # matplotlib takes a while, and the service's processes none of it

        pictures = plots.draw(findings)
        if chosen.html is not None:
            chosen.html.write_text(html.render(findings, pictures))
        if chosen.docs is not None:
            html.write_docs(chosen.docs, findings, pictures)


if __name__ == "__main__":
    sys.exit(main())
