"""The services of this machine are found by what each `flash up` has noted."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from flash.cli import commands
from flash.config import Config
from flash.local.address import Address, noted, running_address, running_addresses
from flash.local.embedded import datadir
from flash.local.found import demo_dir


def test_with_two_services_the_youngest_is_used_and_buy_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(data_dir=tmp_path / "data")
    ours, demo = config.data_dir, demo_dir(config.data_dir)
    ours.mkdir()
    demo.mkdir()
    first, second = Address("http://localhost:1"), Address("http://localhost:2")
    with datadir.locked(ours), datadir.locked(demo), noted(ours, first), noted(demo, second):
        for place, began in ((ours, 1_000), (demo, 2_000)):
            for file in place.glob("*"):
                os.utime(file, (began, began))
        assert running_addresses(config) == [second, first]
        assert running_address(config) == second
        options = argparse.Namespace(url=None, cacert=None, user="me", id=None)
        assert commands.buy(config, options) == 1, "nobody listens there"
    assert capsys.readouterr().err.startswith("flash: at http://localhost:2, the youngest of 2 that run here; --url ")
