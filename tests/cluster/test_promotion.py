"""A primary dies under load and its standby is promoted: no process is restarted, and nobody is lied to.

With a synchronous standby nothing that was answered is lost; with an asynchronous one exactly what it lacked.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import trio

from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.testing.cluster import QUICK, running_cluster
from flash.testing.standby import Standby, cut_off, promote, running_standby, url_of
from flash.testing.stored import Stored, read_stored
from flash.testing.stores import psql
from flash.testing.verification import unexpected
from tests.cluster.history import Crowd, History
from tests.cluster.test_faults import RECOVERY_SECONDS, SIZE, crowded_sale

LACKING = SIZE // 6


async def test_nothing_answered_is_lost_when_a_synchronous_standby_takes_over(
    own_postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    with running_standby(own_postgres, is_synchronous=True) as standby:
        async with crowded_sale(url_of(own_postgres, standby), valkey) as (cluster, crowd):
            await fail_over(own_postgres, standby)
            assert crowd.sold < SIZE
            await crowd.wait_fresh_sales(seconds=RECOVERY_SECONDS)
            assert all(process.is_running() for process in cluster.processes)


async def test_exactly_what_an_asynchronous_standby_lacked_is_gone_and_is_sold_again(
    own_postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    settings = {**QUICK, "FLASH_SALE_SIZE": str(SIZE), "FLASH_REQUEST_TIMEOUT": "2"}
    with running_standby(own_postgres, is_synchronous=False) as standby:
        url = url_of(own_postgres, standby)
        async with running_cluster(url, valkey.url, web=1, inventory=1, **settings) as (cluster, addresses):
            # 400: the code's checkout is gone
            crowd = Crowd(addresses, SIZE, finals=(200, 400, 409, 410))
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(crowd.run)
                    await crowd.wait_sold(SIZE // 3)
                    await trio.to_thread.run_sync(cut_off, standby)
                    kept = psql(standby, "SELECT checkout_id FROM purchases", database="flash").split()
                    await crowd.wait_sold(len(kept) + LACKING)
                    await trio.to_thread.run_sync(own_postgres.kill)
                    killed_at = datetime.now(UTC)
                    await fail_over(own_postgres, standby)
                    await crowd.wait_fresh_sales(seconds=RECOVERY_SECONDS)
                    crowd.want_all_again()
            assert all(process.is_running() for process in cluster.processes)
        stored = await read_stored(url)
    assert stored.report.is_clean, stored.report
    assert [sale.stock - sale.sold for sale in stored.report.sales if sale.id == 1] == [0], "all that came back is sold"
    answered = {code for code, receipt in crowd.history.sold.items() if told_at(receipt) < killed_at}
    lacked = {code for code in answered if str(stored.open(code).checkout_id) not in kept}
    assert lacked, "the standby must have lacked something"
    assert gone(crowd.history, stored) == lacked
    assert not list(unexpected(crowd.history, stored))


async def fail_over(primary: EmbeddedPostgres, standby: Standby) -> None:
    """The primary's host is lost, and the standby is promoted at once."""
    await trio.to_thread.run_sync(primary.kill)
    await trio.to_thread.run_sync(partial(promote, standby))


def told_at(receipt: Mapping[str, Any]) -> datetime:
    """When the database says that it was sold. It has the clock of this machine."""
    return datetime.fromisoformat(receipt["purchased_at"])


def gone(history: History, stored: Stored) -> set[str]:
    """The codes with which somebody has bought what is stored as nobody's, or as somebody else's."""
    found = set[str]()
    for code, receipt in history.sold.items():
        row = stored.purchase_of(code)
        if row is None or (row.item_id, row.user_id) != (receipt["item"]["id"], receipt["user_id"]):
            found.add(code)
    return found
