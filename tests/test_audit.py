"""An audit that misses a kind of corruption proves nothing, so each kind is planted here and must be found."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from flash.audit import CHECKS, ROWS_MAX, audit, main
from flash.config import Config
from flash.errors import ConfigError, OperatorError
from tests.corruptions import CLEAN_HISTORY, CORRUPTIONS, NO_CONSTRAINTS, PAUSE_2, RECORD_PAUSE, Corruption


def execute(url: str, *statements: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(run())


def report(url: str, capsys: pytest.CaptureFixture[str], sale_id: int | None = None) -> tuple[int, Any]:
    code = main(Config(database_url=url), as_json=True, sale_id=sale_id)
    return code, orjson.loads(capsys.readouterr().out)


def table(url: str, capsys: pytest.CaptureFixture[str], sale_id: int | None = None) -> str:
    main(Config(database_url=url), as_json=False, sale_id=sale_id)
    return capsys.readouterr().out


def broken(found: Any) -> dict[str, list[dict[str, Any]]]:
    return {check["name"]: check["rows"] for check in found["checks"] if check["broken"]}


def test_a_clean_history_passes_every_check(postgres: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute(postgres, CLEAN_HISTORY)
    code, found = report(postgres, capsys)
    assert broken(found) == {}
    assert (code, found["clean"], len(found["checks"])) == (0, True, len(CHECKS))


def test_a_sale_that_is_paused_now_passes_every_check(postgres: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute(postgres, CLEAN_HISTORY, f"{PAUSE_2} {RECORD_PAUSE} (2, 'pause', '2026-01-01 01:00:06Z', 'op', '', 1)")
    assert report(postgres, capsys)[0] == 0


def test_an_empty_database_is_clean(postgres: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = report(postgres, capsys)
    assert (code, found["sales"], found["attempts_of_no_sale"]) == (0, [], {})
    assert "clean: " in table(postgres, capsys)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.what)
def test_a_corruption_is_found_and_its_row_shown(
    corruption: Corruption, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(postgres, CLEAN_HISTORY, NO_CONSTRAINTS, corruption.sql)
    code, found = report(postgres, capsys)
    assert (code, found["clean"]) == (1, False)
    offenders = broken(found)
    assert set(offenders) == {corruption.check} | corruption.also
    assert any(corruption.row.items() <= row.items() for row in offenders[corruption.check]), offenders
    assert "\nBROKEN  " in table(postgres, capsys)


def test_every_check_finds_some_corruption() -> None:
    assert {corruption.check for corruption in CORRUPTIONS} == {check.name for check in CHECKS}


def test_sales_and_attempts_are_counted(postgres: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute(postgres, CLEAN_HISTORY)
    _, found = report(postgres, capsys)
    first, second = found["sales"]
    assert first == {
        "id": 1,
        "starts_at": "2026-01-01T00:00:00+00:00",
        "first_item_id": 1,
        "stock": 4,
        "user_limit": 2,
        "sold": 4,
        "purchases": 4,
        "buyers": 2,
        "most_by_one_user": 2,
        "epoch": 2,
        "sold_out_at": "2026-01-01T00:00:09+00:00",
        "attempts": {"issued": 5, "sold_out": 1},
    }
    assert second["attempts"] == {"issued": 2, "sale_not_open": 1}
    assert found["attempts_of_no_sale"] == {"item_not_found": 1, "invalid_request": 1}


def test_attempts_on_a_withdrawn_sale_count_as_attempts_on_no_sale(
    postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    early = "INSERT INTO checkouts (outcome, sale_id, item_id, user_id) VALUES ('sale_not_open', 3, 9, 'eve')"
    execute(postgres, early, early)
    code, found = report(postgres, capsys)
    assert (code, found["attempts_of_no_sale"]) == (0, {"sale_not_open": 2})


def test_one_sale_can_be_audited_alone(postgres: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute(postgres, CLEAN_HISTORY, "UPDATE purchases SET epoch = 0 WHERE item_id = 5")
    assert report(postgres, capsys, sale_id=1)[0] == 0
    code, found = report(postgres, capsys, sale_id=2)
    assert (code, [sale["id"] for sale in found["sales"]]) == (1, [2])


def test_the_first_twenty_offending_rows_are_shown_and_all_are_counted(
    postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    many = "INSERT INTO purchases SELECT 7, n, n, 'u' || n, 1, 1, '', now() FROM generate_series(1, 50) n"
    execute(postgres, many)
    _, found = report(postgres, capsys, sale_id=7)
    check = next(check for check in found["checks"] if check["name"] == "purchase_has_sale")
    assert check["broken"] == 50
    assert [row["item_id"] for row in check["rows"]] == list(range(1, ROWS_MAX + 1))
    assert "BROKEN  a purchase belongs to a sale, but:\n" in table(postgres, capsys)
    assert "… and 30 more\n" in table(postgres, capsys)


def test_the_table_has_a_line_for_each_sale_and_each_promise(postgres: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute(postgres, CLEAN_HISTORY)
    lines = [re.sub(" +", " ", line).strip() for line in table(postgres, capsys).splitlines()]
    assert "1 2026-01-01 00:00:00 1-4 4 4 4 2 2 2 2 2026-01-01 00:00:09" in lines
    assert "2 2026-01-01 01:00:00 5-8 4 1 1 1 1 2 1 -" in lines
    assert "none 2 0 1 1 0 0 0" in lines
    assert sum(line.startswith("ok ") for line in lines) == len(CHECKS)
    assert lines[-1].startswith(f"clean: {len(CHECKS)} promises, 2 sales, as of ")


def test_a_users_name_cannot_control_the_terminal(postgres: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute(postgres, CLEAN_HISTORY, "UPDATE purchases SET user_id = E'\\x1b[2J' WHERE item_id = 5")
    printed = table(postgres, capsys)
    assert "\x1b" not in printed
    assert r"user_id='\x1b[2J'" in printed


def test_the_audit_reads_one_snapshot_and_cannot_write(postgres: str) -> None:
    seen: list[tuple[str, str]] = []

    class Spy(asyncpg.Connection):
        async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
            state = await self.fetchrow(
                "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')"
            )
            assert state is not None
            seen.append((state[0], state[1]))
            return await super().fetch(query, *args, **options)

    async def run() -> None:
        connection = await asyncpg.connect(postgres, connection_class=Spy)
        await audit(connection)
        await connection.close()

    asyncio.run(run())
    assert set(seen) == {("repeatable read", "on")}


@pytest.mark.parametrize("place", ["/flash?host={nowhere}", "127.0.0.1:1/flash"])
def test_an_unreachable_database_is_an_operator_error(place: str, tmp_path: Path) -> None:
    url = "postgresql://postgres:secret@" + place.format(nowhere=tmp_path)
    with pytest.raises(OperatorError, match="cannot be reached") as failure:
        main(Config(database_url=url), as_json=False, sale_id=None)
    assert "secret" not in str(failure.value)


def test_an_unset_database_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match="DATABASE_URL"):
        main(Config(), as_json=False, sale_id=None)


def test_a_database_without_the_schema_is_an_operator_error(postgres: str) -> None:
    execute(postgres, "DROP TABLE purchases")
    with pytest.raises(OperatorError, match="flash migrate"):
        main(Config(database_url=postgres), as_json=False, sale_id=None)


def test_an_unknown_sale_is_an_operator_error(postgres: str) -> None:
    with pytest.raises(OperatorError, match="no sale 12"):
        main(Config(database_url=postgres), as_json=False, sale_id=12)
