"""`flash doctor` says in plain words whether a fail-over could lose a sale that was answered, on real standbys."""

from __future__ import annotations

import pytest

from flash import bridge
from flash.config import Config
from flash.local import doctor
from flash.local.doctor_postgres import examine, judge_fail_over
from flash.local.embedded import EmbeddedPostgres
from flash.stores.addresses import servers_of
from flash.stores.replication import Replication
from flash.testing import bouncer
from flash.testing.bouncer import running_bouncer
from flash.testing.standby import cut_off, promote, require_standby, running_standby, url_of, wait_until
from flash.testing.stores import psql


async def findings(url: str, subject: str) -> list[tuple[str, str]]:
    servers_of.cache_clear()  # as in a process that has just started
    async with bridge.open_loop():
        return [(one.verdict, one.text) for one in await examine(url) if one.subject == subject]


async def test_it_says_what_a_fail_over_would_lose_and_which_servers_take_writes(
    own_postgres: EmbeddedPostgres,
) -> None:
    ((verdict, text),) = await findings(own_postgres.url, "fail-over")
    assert (verdict, text[:18]) == ("ok", "no standby follows")
    assert not await findings(own_postgres.url, "servers")
    with running_standby(own_postgres, is_synchronous=False) as standby:
        both = url_of(standby, own_postgres)
        ((verdict, text),) = await findings(both, "fail-over")
        assert (verdict, text[:64]) == ("warn", "it can lose sales that were answered: 1 standby follows, and no ")
        told = await findings(both, "servers")
        assert [one[0] for one in told] == ["ok", "ok"]
        assert told[0][1].endswith("it takes writes")
        assert "it is a standby" in told[1][1]
        ((verdict, text),) = await findings(own_postgres.url, "servers")
        assert (verdict, text[:29]) == ("warn", "DATABASE_URL names one server")

        require_standby(own_postgres)
        ((verdict, text),) = await findings(both, "fail-over")
        assert (verdict, text[:40]) == ("ok", "it loses no sale that was answered, if a")
        psql(own_postgres, "CREATE ROLE flash_blind LOGIN")
        ((verdict, text),) = await findings(both.replace("flash@", "flash_blind@"), "fail-over")
        assert (verdict, text[:33]) == ("warn", "this role may not see whether a s")

        cut_off(standby)
        wait_until(own_postgres, "SELECT count(*) FROM pg_stat_replication", "0")
        ((verdict, text),) = await findings(both, "fail-over")
        assert verdict == "fail"
        assert "0 standbys follow, and none that synchronous_standby_names = 'standby' means" in text

        promote(standby)
        told = await findings(both, "servers")
        assert sorted(one[0] for one in told) == ["ok", "warn"]
        assert any("stop it" in text for _, text in told)
        standby.kill()
        told = await findings(both, "servers")
        assert any(verdict == "warn" and "cannot be reached" in text for verdict, text in told)


@pytest.mark.parametrize(
    ("names", "commit", "standbys", "synchronous", "verdict", "words"),
    [
        ("ANY 1 (*)", "local", 2, 2, "fail", "synchronous_commit is local"),
        ("ANY 1 (*)", "remote_write", 2, 2, "warn", "if the standby's machine crashes as well"),
        ("ANY 1 (*)", "remote_apply", 2, 2, "ok", "2 of them ('ANY 1 (*)') wrote it to disk first"),
    ],
)
def test_a_setting_that_does_not_wait_for_the_disk_of_a_standby_is_told(
    names: str, commit: str, standbys: int, synchronous: int, verdict: str, words: str
) -> None:
    finding = judge_fail_over(Replication(names, commit, standbys, synchronous, is_visible=True))
    assert finding.verdict == verdict
    assert words in finding.text


@pytest.mark.skipif(bouncer.PROGRAM is None, reason="there is no pgbouncer on this machine")
async def test_it_says_which_settings_do_not_pass_a_pooler(own_postgres: EmbeddedPostgres) -> None:
    with running_bouncer(own_postgres, ignored=bouncer.SETTINGS) as url:
        told = await findings(url, "pooler")
        assert [verdict for verdict, _ in told] == ["ok", "warn"]
        assert "ALTER ROLE … SET statement_timeout = '1800ms'" in told[1][1]
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            psql(own_postgres, f"ALTER ROLE flash SET {name} = '1800ms'")
    with running_bouncer(own_postgres) as url:
        assert [verdict for verdict, _ in await findings(url, "pooler")] == ["ok"]
    assert not await findings(own_postgres.url, "pooler")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://ann@127.0.0.1:1/flash", "connection refused: nothing listens there: start it, or correct host "),
        ("postgresql:///flash?host=/nowhere&user=ann", "there is no such socket: start it, or correct "),
    ],
)
def test_it_says_why_a_server_is_away_and_what_to_do(url: str, told: str) -> None:
    ((verdict, subject, text),) = [
        (one.verdict, one.subject, one.text) for one in doctor._postgres(Config(database_url=url))
    ]
    assert (verdict, subject) == ("fail", "DATABASE_URL")
    assert "PostgreSQL cannot be reached: " in text
    assert told in text
