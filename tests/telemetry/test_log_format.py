"""Log lines: what a program reads, what a person reads, and what neither may be made to read."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from flash.telemetry.log_format import JsonFormatter, TextFormatter, json_line, rfc3339
from flash.telemetry.logs import wants_json


class DatabaseError(Exception):
    """Says what asyncpg's errors say: a second line that quotes a row."""

    def __str__(self) -> str:
        return 'duplicate key value violates "one_each"\nDETAIL:  Key (user_id)=(josé) already exists.'


def a_record(message: object, *args: object, error: BaseException | None = None, **fields: object) -> Any:
    info = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("flash.some.where", logging.WARNING, "file.py", 1, message, args, info)
    record.created = 1_795_521_600.123456
    if fields:
        vars(record)["fields"] = fields
    return record


def as_json(record: Any) -> dict[str, Any]:
    line = JsonFormatter("web").format(record)
    assert line.isascii()
    assert "\n" not in line
    loaded: dict[str, Any] = json.loads(line)
    return loaded


def as_text(record: Any) -> str:
    return TextFormatter().format(record)


def raised(error: Exception) -> Exception:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_a_line_of_json_says_when_how_bad_who_where_and_what() -> None:
    line = as_json(a_record("lost %d of %s", 3, "ten", x_request_id="abc"))
    assert line.pop("pid") > 0
    assert line == {
        "time": "2026-11-24T12:00:00.123Z",
        "level": "warning",
        "process": "web",
        "logger": "flash.some.where",
        "message": "lost 3 of ten",
        "x_request_id": "abc",
    }


def test_a_line_of_text_is_as_short_as_people_want_it() -> None:
    assert as_text(a_record("lost %d of %s", 3, "ten")) == "WARNING flash.some.where: lost 3 of ten"
    assert as_text(a_record("100 %", x_request_id="abc")) == "WARNING flash.some.where: 100 % x_request_id=abc"


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\x1b[1A\r"])
def test_no_message_forges_a_line_or_steers_a_terminal(ending: str) -> None:
    evil = f"joe{ending}CRITICAL flash: all is lost"
    for record in (a_record("hello %s", evil), a_record("hello", user=evil), a_record("hello", error=ValueError(evil))):
        assert not [line for line in as_text(record).splitlines()[1:] if not line.startswith("  ")]
        assert "\x1b" not in as_text(record)
        as_json(record)
    assert as_json(a_record("hello %s", evil))["message"] == f"hello {evil}", "JSON has escapes of its own"


def test_names_that_no_encoding_can_write_are_written_all_the_same() -> None:
    assert as_json(a_record("hello %s", "jos\udce9"))["message"] == "hello jos\udce9"
    as_text(a_record("hello %s", "jos\udce9")).encode("ascii", "backslashreplace")
    assert "josé ✓" in as_text(a_record("hello %s", "josé ✓"))


def test_of_an_error_only_the_first_line_is_told_however_it_gets_into_a_log() -> None:
    def fail() -> None:
        try:
            raise DatabaseError
        except DatabaseError as cause:
            raise RuntimeError("the batch failed") from cause

    with pytest.raises(RuntimeError) as caught:
        fail()
    group = raised(ExceptionGroup("two tasks", [raised(DatabaseError()), caught.value]))
    for record in (a_record("failed: %s", DatabaseError()), a_record(DatabaseError()), a_record("failed", error=group)):
        for told in (as_text(record), json.dumps(as_json(record))):
            assert "duplicate key value" in told
            assert "jos" not in told
            assert "DETAIL" not in told


def test_a_traceback_is_indented_for_people_and_one_string_for_programs() -> None:
    record = a_record("failed", error=raised(ValueError("no")))
    text, line = as_text(record), as_json(record)
    assert text.startswith("WARNING flash.some.where: failed\n  Traceback (most recent call last):\n")
    assert text.endswith("\n  ValueError: no")
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("\nValueError: no")


def test_what_others_print_becomes_a_line_as_well() -> None:
    line = json.loads(json_line("web.1", "Segmentation fault\x1b"))
    assert (line["process"], line["message"]) == ("web.1", "Segmentation fault\x1b")
    assert line["time"].endswith("Z")


def test_times_are_in_utc_with_milliseconds() -> None:
    assert rfc3339(0.0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(1_795_521_600.9999) == "2026-11-24T12:00:00.999Z"


@pytest.mark.parametrize(
    ("log_format", "is_for_people", "is_json"),
    [("auto", True, False), ("auto", False, True), ("json", True, True), ("text", False, False)],
)
def test_auto_is_json_unless_people_read_along(log_format: str, is_for_people: bool, is_json: bool) -> None:
    assert wants_json(log_format, is_for_people=is_for_people) is is_json


def test_this_python_still_lets_a_traceback_be_shortened() -> None:
    """The one private name that `log_format` leans on."""
    told = as_text(a_record("failed", error=raised(DatabaseError())))
    assert "DETAIL" not in told, f"TracebackException has changed in Python {sys.version_info}"
