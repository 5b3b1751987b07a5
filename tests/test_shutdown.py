"""The numbers of a stop that honcho dictates, or that must fit together under the default settings."""

from __future__ import annotations

import honcho.manager

from flash.config import Config
from flash.shutdown import (
    HANDOVER_SECONDS,
    HONCHO_KILL_SECONDS,
    STORES_STOP_SECONDS,
    WORK_SHARE_OF_DRAIN,
    process_stop_seconds,
)


def test_honcho_is_as_patient_as_we_believe() -> None:
    assert honcho.manager.KILL_WAIT == HONCHO_KILL_SECONDS


def test_a_process_ends_by_itself_before_honcho_kills_it_and_flash_up_takes_no_longer() -> None:
    assert process_stop_seconds(Config().drain_seconds) + STORES_STOP_SECONDS < HONCHO_KILL_SECONDS


def test_a_stopping_inventory_still_leads_while_stopping_web_processes_wait_for_its_answers() -> None:
    assert Config().drain_seconds * WORK_SHARE_OF_DRAIN > HANDOVER_SECONDS
