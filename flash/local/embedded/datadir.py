"""The directory below which the embedded stores keep everything, and who may use it: one `flash up` at a time.

Nothing here changes the mode or owner of a file or directory that we did not make ourselves.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from flash.errors import OperatorError

SOCKET_PATH_BYTES_MAX = 100
"""A unix socket's path has 103 to 107 bytes, depending on the system."""

_LONGEST_SOCKET_NAME = "/.s.PGSQL.5432"
_ELSEWHERE = "flash-4294967295-0123456789ab"


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn what the file system refuses into one sentence."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise OperatorError(
            f"cannot keep the stores' data: {error.strerror or error}{where}; free it, or set FLASH_DATA_DIR"
        ) from error


def prepare(data_dir: Path) -> Path:
    """Make `data_dir` if it is missing; its absolute path."""
    with explained():
        data_dir = data_dir.absolute()
        data_dir.mkdir(parents=True, exist_ok=True)
        own_directory(data_dir / "log")
    return data_dir


def own_directory(path: Path, mode: int = 0o700) -> Path:
    """Make the directory `path`, or see that it is one that we made. Raises `OperatorError` if it is another's."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise OperatorError(f"{path} is not a directory of this user alone: remove it, or set FLASH_DATA_DIR")
    return path


def elsewhere(data_dir: Path, parent: Path, mode: int) -> Path:
    """A directory of ours outside `data_dir` that always belongs to it."""
    return own_directory(parent / f"flash-{os.geteuid()}-{fingerprint(str(data_dir))}", mode)


def fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def socket_directory(data_dir: Path) -> Path:
    """Where the stores listen: `run/`, or a private place below the temporary directory if that path is too long."""
    with explained():
        if _has_room(data_dir / "run"):
            return own_directory(data_dir / "run")
        temporary = Path(tempfile.gettempdir())
        return elsewhere(data_dir, temporary if _has_room(temporary / _ELSEWHERE) else Path("/tmp"), 0o700)


def _has_room(folder: Path) -> bool:
    return len(os.fsencode(folder)) + len(_LONGEST_SOCKET_NAME) <= SOCKET_PATH_BYTES_MAX


def give(path: Path, uid: int) -> None:
    """Let `uid` own our tree at `path`, if we are root. The top goes last, so it tells whether all is done."""
    if os.geteuid() != 0 or path.lstat().st_uid == uid:
        return
    for folder, folders, files in os.walk(path, topdown=False):
        for name in (*folders, *files):
            os.lchown(os.path.join(folder, name), uid, -1)
    os.lchown(path, uid, -1)


def copy_once(source: Path, target: Path) -> Path:
    """A copy of the tree `source` at `target`, made completely or not at all."""
    if not target.exists():
        unfinished = target.with_name(target.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(source, unfinished, symlinks=True)
        unfinished.rename(target)
    return target


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold `data_dir` for this process alone; the kernel lets go when we die, however we die."""
    with explained():
        descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            raise OperatorError(
                f"`flash up` is running here already (pid {holder}, data in {data_dir}): "
                "stop it, or set FLASH_DATA_DIR to another directory"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def stop_orphan(pid_file: Path, marker: str, first: signal.Signals, patience_seconds: float = 10.0) -> None:
    """End what a killed run has left behind: the process named in `pid_file`, if its command line holds `marker`."""
    pid = _read_pid(pid_file)
    if pid is None or marker not in command_line(pid):
        return
    for how in (first, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        deadline = time.monotonic() + patience_seconds
        while marker in command_line(pid) and time.monotonic() < deadline:
            time.sleep(0.01)


def _read_pid(pid_file: Path) -> int | None:
    try:
        pid = int(pid_file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pid if pid > 1 else None


def command_line(pid: int) -> str:
    """How the process was started; empty if there is no such process."""
    if not Path("/proc/self/cmdline").exists():
        done = subprocess.run(
            ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return done.stdout
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def children_of(parent: int) -> list[int]:
    """The processes that `parent` has started and that still run."""
    if Path("/proc/self/stat").exists():
        return [pid for pid in _pids() if _parent(pid) == parent]
    done = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = (line.split() for line in done.stdout.splitlines())
    return [int(pid) for pid, ppid in pairs if int(ppid) == parent]


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _parent(pid: int) -> int | None:
    """The parent of `pid` as Linux tells it; the name of the program, before it, may hold anything but ends at `)`."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
