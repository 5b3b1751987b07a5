"""A PostgreSQL that follows another one by streaming, made from it by `pg_basebackup`: for tests of fail-overs."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from urllib.parse import quote

from flash.local.embedded import EmbeddedPostgres
from flash.testing.stores import private_directory, psql

_POLL_SECONDS = 0.01
_WAIT_SECONDS = 20.0


class Standby(EmbeddedPostgres):
    """A standby of `primary`, which must run. Its data are copied by its first start."""

    def follow(self, primary: EmbeddedPostgres) -> None:
        """Be made from this server, which is asked for everything that it writes from then on."""
        self._primary = primary

    def _make_cluster(self) -> None:
        unfinished = self.cluster.with_name("postgres.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._given(unfinished)
        source = f"host={self._primary.socket_dir} user=flash application_name={APPLICATION_NAME}"
        self._run("pg_basebackup", unfinished, "--dbname", source, *BACKUP_FLAGS)
        unfinished.rename(self.cluster)


APPLICATION_NAME = "standby"
BACKUP_FLAGS = ("--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream", "--no-sync", "--no-manifest")


@contextlib.contextmanager
def running_standby(primary: EmbeddedPostgres, *, is_synchronous: bool) -> Iterator[Standby]:
    """A standby that has all of `primary`'s data. A synchronous one has every commit before it is answered."""
    with private_directory() as folder:
        server = Standby(folder)
        server.follow(primary)
        try:
            server.start()
            wait_until(primary, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "1")
            if is_synchronous:
                require_standby(primary)
            yield server
        finally:
            server.kill()


def require_standby(primary: EmbeddedPostgres) -> None:
    """From now on no commit on `primary` is answered before its standby has it on disk."""
    psql(primary, f"ALTER SYSTEM SET synchronous_standby_names = '{APPLICATION_NAME}'")
    psql(primary, "SELECT pg_reload_conf()")
    wait_until(primary, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'", "1")


def cut_off(standby: EmbeddedPostgres) -> None:
    """Let it receive nothing any more, as if its network were gone."""
    psql(standby, "ALTER SYSTEM SET primary_conninfo = ''")
    psql(standby, "SELECT pg_reload_conf()")
    wait_until(standby, "SELECT count(*) FROM pg_stat_wal_receiver", "0")


def promote(standby: EmbeddedPostgres) -> None:
    """Make it a primary. It takes writes when this returns."""
    assert psql(standby, "SELECT pg_promote()") == "t"


def url_of(*servers: EmbeddedPostgres) -> str:
    """One URL for all of them, in this order."""
    hosts = ",".join(quote(str(server.socket_dir)) for server in servers)
    ports = ",".join("5432" for _ in servers)
    return f"postgresql://flash@/flash?host={hosts}&port={ports}&target_session_attrs=read-write"


def wait_until(server: EmbeddedPostgres, question: str, answer: str, *, database: str = "postgres") -> None:
    """Ask until the answer is the right one."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while (found := psql(server, question, database=database)) != answer:
        assert time.monotonic() < deadline, f"{question}: {found}, not {answer}, after {_WAIT_SECONDS:g} s"
        time.sleep(_POLL_SECONDS)
