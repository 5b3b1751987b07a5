"""The command line: `main` runs one command, and says what its exit code means.

A wrong setting, or something on this machine that is in the way, is reported on stderr without a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from flash.cli.parser import build_parser
from flash.config import Config
from flash.errors import ConfigError, FlashError, first_of

NO_ASSERTIONS = (
    "this service refuses to run without assertions, because they guard against selling what is not there: "
    "leave out `python -O` and unset PYTHONOPTIMIZE"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Without a command, print the help."""
    if not __debug__:
        return _report(NO_ASSERTIONS, 2)
    parser = build_parser()
    options = parser.parse_args(arguments)
    if "run" not in options:
        parser.print_help()
        return 0
    try:
        config = Config.from_env()
        if options.warns:
            for warning in config.warnings():
                sys.stderr.write(f"flash: warning: {warning}\n")
        for name in options.needs:
            config.require(name)
        code: int = options.run(config, options)
    except ConfigError as error:
        return _report(str(error), 2)
    except FlashError as error:
        return _report(str(error), 1)
    except BaseExceptionGroup as group:  # Trio wraps what leaves a nursery
        if group.split(FlashError)[1] is not None:
            raise
        return _report(str(first_of(group)), 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stdout = None  # the reader of our output has gone: there is nothing to flush
        return 0
    return code


def _report(text: str, code: int) -> int:
    for line in text.splitlines():
        sys.stderr.write(f"flash: {line}\n")
    return code
