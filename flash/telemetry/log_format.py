"""How a log line looks: text for people, or one JSON object for programs. No setting, no stream.

Much of what is logged comes from elsewhere: errors of a database, which quote rows in their second line, and names
that clients have chosen. So of an error only the first line is told, and no character of a message ends a line.
"""

from __future__ import annotations

import json
import logging
import os
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime

from flash.errors import reason_of

FIELDS = "fields"
"""The attribute of a log record (see `extra` in `logging`) that holds what a program may want to look for."""

_dumps = json.JSONEncoder(default=str, separators=(",", ":")).encode
_ENDS_NO_LINE = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_ENDS_NO_LINE |= {code: f"\\u{code:04x}" for code in (0x2028, 0x2029)} | {0x0A: "\\n", 0x0D: "\\r", 0x09: "\t"}


class TextFormatter(logging.Formatter):
    """`LEVEL logger: message`. Only a traceback takes more lines, and those are indented."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in fields_of(record).items())
        line = f"{record.levelname} {record.name}: {one_line(message_of(record) + fields)}"
        text = traceback_of(record)
        return line + "".join(f"\n  {part}" for part in text.splitlines()) if text else line


class JsonFormatter(logging.Formatter):
    """One object on one line, in ASCII. `process` is the role of this process."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": rfc3339(record.created),
            "level": record.levelname.lower(),
            "process": self._process,
            "pid": record.process or os.getpid(),
            "logger": record.name,
            "message": message_of(record),
            **fields_of(record),
        }
        if text := traceback_of(record):
            line["exception"] = text
        return _dumps(line)


def json_line(process: str, message: str) -> str:
    """What somebody else has written for `process`, as a line of a log."""
    return _dumps({"time": rfc3339(time.time()), "level": "info", "process": process, "message": message})


def fields_of(record: logging.LogRecord) -> Mapping[str, object]:
    found: Mapping[str, object] = getattr(record, FIELDS, {})
    return found


def message_of(record: logging.LogRecord) -> str:
    text, args = str(_told(record.msg)), record.args
    if isinstance(args, tuple):
        args = tuple(map(_told, args))
    return text % args if args else text


def one_line(text: str) -> str:
    """`text` with control characters spelled out, so that it neither ends a line nor steers a terminal."""
    return text if text.isprintable() else text.translate(_ENDS_NO_LINE)


def rfc3339(seconds: float) -> str:
    """`2026-11-24T12:00:00.123Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def traceback_of(record: logging.LogRecord) -> str:
    """The traceback of the record's exception and of what led to it; empty if it has none."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return ""
    told = traceback.TracebackException.from_exception(error)
    _shorten(told)
    return "".join(told.format()).rstrip("\n")


def _shorten(told: traceback.TracebackException) -> None:
    """Leave the first line of each error's text. `TracebackException` offers no other way than its `_str`."""
    vars(told)["_str"] = one_line(str(vars(told)["_str"]).partition("\n")[0])
    for other in (told.__cause__, told.__context__, *(told.exceptions or ())):
        if other is not None:
            _shorten(other)


def _told(part: object) -> object:
    """What may be told of a part of a message: all, unless it is an error."""
    return reason_of(part) if isinstance(part, BaseException) else part
