"""`python -m benchmarks`: what this machine does with whole sales."""

from __future__ import annotations

import argparse
import sys

from benchmarks import command
from benchmarks.options import DESCRIPTION, add_arguments, read
from flash.config import Config
from flash.errors import ConfigError, FlashError


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    options = parser.parse_args()
    try:
        config = Config.from_env()
        return command.run(config, read(options, config.http), sys.argv[1:])
    except FlashError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"flash: {line}\n")
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
