"""What is decided before anything starts: which processes, on which ports, and whether those are free."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from flash.config import Config
from flash.errors import ConfigError, OperatorError
from flash.http.listener import why_not
from flash.local.ports import any_port, is_free, with_free_ports
from flash.local.procfile import parse_concurrency, read_procfile


@pytest.mark.parametrize("text", ["web", "web=two", "web=1;inventory=2", "=", "", "web=-1"])
def test_a_malformed_concurrency_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected something like web=1,inventory=2"):
        parse_concurrency(text)


def test_a_concurrency_that_starts_nothing_is_refused_with_an_example(path: Path) -> None:
    path.write_text("web: web\ninventory: inventory\n")
    with pytest.raises(ConfigError, match="-c web=0,inventory=0: that starts no process; expected something like web="):
        read_procfile(path, "web=0,inventory=0")
    assert [process.name for process in read_procfile(path, "web=0").processes(0)] == ["inventory.1"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "Procfile"


def test_processes_get_the_ports_that_honcho_gives_them(path: Path) -> None:
    path.write_text("# ours\nweb: exec python -m flash web\n\ninventory: exec python -m flash inventory\n")
    processes = read_procfile(path, "web=2,inventory=2").processes(8080, {"A": "b"})
    assert [(process.name, process.port, process.env["A"]) for process in processes] == [
        ("web.1", 8080, "b"),
        ("web.2", 8081, "b"),
        ("inventory.1", 8180, "b"),
        ("inventory.2", 8181, "b"),
    ]
    assert processes[0].command == "exec python -m flash web"


def test_the_ports_that_must_be_free_are_those_of_web_wherever_it_stands(path: Path) -> None:
    path.write_text("inventory: i\nweb: w\n")
    assert read_procfile(path, "web=2").web_offsets() == [100, 101]


def test_a_kind_that_is_not_asked_for_runs_once_as_under_honcho(path: Path) -> None:
    path.write_text("web: w\nextra: e\n")
    assert [process.name for process in read_procfile(path, "web=2").processes(1)] == ["web.1", "web.2", "extra.1"]


@pytest.mark.parametrize("text", ["", "nothing here", "web: a\nweb: b\n"])
def test_a_procfile_that_cannot_be_used_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError, match="Procfile"):
        read_procfile(path, None)


def test_a_free_port_is_told_from_a_taken_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert not is_free("127.0.0.1", taken.getsockname()[1])
    assert is_free("127.0.0.1", any_port("127.0.0.1"))
    with pytest.raises(OperatorError, match="is no address"):
        is_free("no.such.host.invalid", 80)


def test_every_web_process_needs_its_own_free_port() -> None:
    with ExitStack() as stack:
        port = 0
        while not port or not is_free("127.0.0.1", port - 1):  # another test may have it
            port = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        with pytest.raises(OperatorError, match=f"port {port} is taken"):
            with_free_ports(Config(port=port - 1), [0, 1])
    with pytest.raises(OperatorError, match="there is no port 65536"):
        with_free_ports(Config(port=65535), [1])
    assert with_free_ports(Config(port=0), [0, 1]).port > 0


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EACCES, "port 80 on 10.0.0.9 may not be used by this user: set PORT to 1024 or above"),
        (errno.EADDRNOTAVAIL, "10.0.0.9 is not an address of this machine: set FLASH_HOST"),
        (errno.EADDRINUSE, "port 80 is taken on 10.0.0.9: stop what uses it"),
        (errno.EMFILE, "cannot listen on 10.0.0.9, port 80: Too many open files"),
    ],
)
def test_what_is_in_the_way_of_a_port_is_said_with_what_to_do(number: int, text: str) -> None:
    assert why_not(OSError(number, os.strerror(number)), "10.0.0.9", 80).startswith(text)


def test_an_address_of_another_machine_is_not_a_taken_port() -> None:
    with pytest.raises(OperatorError, match=r"^192\.0\.2\.1 is not an address of this machine: set FLASH_HOST"):
        with_free_ports(Config(host="192.0.2.1"), [0])
