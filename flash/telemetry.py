"""Logging of one process: one line for each beginning and end of a life, nothing for each request."""

from __future__ import annotations

import logging
import sys


def configure_logging(level: str) -> None:
    """Log to stderr from `level` (debug, info, warning, error) on. Time and process name come from honcho."""
    form = "%(levelname)s %(name)s: %(message)s"
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format=form, force=True)
