"""Where a process logs to, and in which format. Lines come when something starts or ends, none for each request."""

from __future__ import annotations

import logging
import sys

from flash.telemetry.log_format import JsonFormatter, TextFormatter


def wants_json(log_format: str, *, is_for_people: bool) -> bool:
    """Whether FLASH_LOG_FORMAT asks for JSON. `auto` does, unless people read along."""
    return log_format == "json" or (log_format == "auto" and not is_for_people)


def configure_logging(level: str, *, process: str, is_json: bool) -> None:
    """Log to stderr from `level` (debug, info, warning, error) up, as a process whose role is `process`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process) if is_json else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
