"""`flash up --demo`: a sale a minute, and a crowd that comes and goes with it."""

from __future__ import annotations

import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from flash.client import FlashClient
from flash.config import Config
from flash.errors import ConfigError
from flash.local.demo import demo
from flash.local.procfile import read_procfile
from tests.local.running import GONE_SECONDS, flash_up, procfile
from tests.test_cli import flash


def test_a_demonstration_sells_a_hundred_items_a_minute_beside_the_real_data(tmp_path: Path) -> None:
    given = replace(Config(), data_dir=tmp_path / ".flash")
    config, shown = demo(given, read_procfile(procfile(tmp_path, web="web"), None))
    assert (config.sale_period_seconds, config.sale_size) == (60, 100)
    assert config.data_dir == tmp_path / ".flash-demo"
    assert shown.processes(8080, {})[0].env["FLASH_SALE_SIZE"] == "100"


def test_a_demonstration_keeps_the_settings_that_somebody_has_made(tmp_path: Path) -> None:
    given = replace(Config(), sale_period_seconds=10, sale_size=5)
    config, _ = demo(given, read_procfile(procfile(tmp_path, web="web"), None))
    assert (config.sale_period_seconds, config.sale_size) == (10, 5)


@pytest.mark.parametrize("given", [{"database_url": "postgresql://h/d"}, {"redis_url": "redis://h"}])
def test_a_demonstration_keeps_its_hands_off_given_stores(given: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unset DATABASE_URL and REDIS_URL"):
        demo(replace(Config(), **given), read_procfile(procfile(tmp_path, web="web"), None))  # type: ignore[arg-type]


def test_its_crowd_buys_until_it_is_stopped_and_a_person_can_buy_beside_it(folder: Path) -> None:
    with flash_up(folder / "data", "--demo", "-c", "web=1,inventory=1") as up:
        address = up.read_until(r"^  (http://localhost:\d+)/$").group(1)
        up.read_until("crowd.1 .*made-up buyers are shopping at")
        with FlashClient(address) as shop:
            sale = shop.current_sale()
            assert sale.stock == 100
            while shop.current_sale().sold == 0:
                pass
        done = flash("buy", "--user", "me", FLASH_DATA_DIR=str(folder / "data"))  # finds the demonstration itself
        assert re.match("Bought  ", done.stdout), done.stderr
        assert up.stop(signal.SIGINT) < GONE_SECONDS
        assert "Traceback" not in up.output
        assert up.left_over() == []
