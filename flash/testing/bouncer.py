"""A PgBouncer in transaction mode in front of a test's PostgreSQL: every transaction may get another session."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from flash.local.embedded import EmbeddedPostgres, datadir
from flash.local.embedded.store import ask, open_log
from flash.processes.child import Child
from flash.testing.stores import private_directory

PROGRAM = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
SETTINGS = "statement_timeout,lock_timeout,idle_in_transaction_session_timeout,enable_seqscan,plan_cache_mode,jit"
"""What each of our sessions begins with, and PgBouncer refuses unless it is told to drop it."""

_CONFIG = """\
[databases]
* = host={server} port=5432
[pgbouncer]
pool_mode = transaction
default_pool_size = 3
max_client_conn = 200
unix_socket_dir = {folder}
listen_port = 6432
auth_type = trust
auth_file = {folder}/users.txt
ignore_startup_parameters = {ignored}
"""
_START_SECONDS = 10.0
_SSL_REQUEST = bytes((0, 0, 0, 8, 4, 210, 22, 47))


@contextlib.contextmanager
def running_bouncer(server: EmbeddedPostgres, *, ignored: str = "") -> Iterator[str]:
    """The URL of the database `flash` of `server`, by way of a PgBouncer that drops the settings named in `ignored`."""
    assert PROGRAM is not None
    with private_directory() as folder:
        config, users = folder / "pgbouncer.ini", folder / "users.txt"
        config.write_text(_CONFIG.format(server=server.socket_dir, folder=folder, ignored=ignored))
        users.write_text('"flash" ""\n')
        for path in (config, users, folder):
            datadir.give(path, server.run_as.owner)
        with open_log(folder / "log") as log:
            child = Child(
                "PgBouncer",
                [PROGRAM, str(config)],
                directory=folder,
                stdout=log,
                stderr=log,
                own_session=True,
                run_as=server.run_as,
                death_signal=signal.SIGKILL,
            )
        try:
            _wait_ready(child, folder)
            yield f"postgresql://flash@/flash?host={quote(str(folder))}&port=6432"
        finally:
            child.kill()
            child.wait_blocking(_START_SECONDS)


def _wait_ready(child: Child, folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ask(folder / ".s.PGSQL.6432", _SSL_REQUEST):
        assert child.is_running(), (folder / "log").read_text()
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.01)
