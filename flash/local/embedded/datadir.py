"""The directory in which the embedded stores keep everything. One `flash up` at a time may use it.

Nothing here changes the mode or owner of a file or directory that we did not create.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from flash.errors import OperatorError

SOCKET_PATH_BYTES_MAX = 100
"""A unix socket's path has 103 to 107 bytes, depending on the system."""

_LONGEST_SOCKET_NAME = "/.s.PGSQL.5432"
_ELSEWHERE = "flash-4294967295-0123456789ab"


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn an error of the file system into one sentence for the operator."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise OperatorError(
            f"cannot keep the stores' data: {error.strerror or error}{where}; free it, or set FLASH_DATA_DIR"
        ) from error


def prepare(data_dir: Path) -> Path:
    """Create `data_dir` if it is missing, and return its absolute path."""
    with explained():
        data_dir = data_dir.absolute()
        data_dir.mkdir(parents=True, exist_ok=True)
        own_directory(data_dir / "log")
    return data_dir


def own_directory(path: Path, mode: int = 0o700) -> Path:
    """Create the directory `path`, or check that it is ours alone. Raises `OperatorError` if it is not."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise OperatorError(f"{path} is not a directory of this user alone: remove it, or set FLASH_DATA_DIR")
    return path


def elsewhere(data_dir: Path, parent: Path, mode: int) -> Path:
    """A directory of ours outside `data_dir`, the same one whenever asked."""
    return own_directory(parent / f"flash-{os.geteuid()}-{fingerprint(str(data_dir))}", mode)


def fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def socket_directory(data_dir: Path) -> Path:
    """Where the stores listen: `run/`, or a private temporary directory if that path is too long for a socket."""
    with explained():
        if _has_room(data_dir / "run"):
            return own_directory(data_dir / "run")
        temporary = Path(tempfile.gettempdir())
        return elsewhere(data_dir, temporary if _has_room(temporary / _ELSEWHERE) else Path("/tmp"), 0o700)


def _has_room(folder: Path) -> bool:
    return len(os.fsencode(folder)) + len(_LONGEST_SOCKET_NAME) <= SOCKET_PATH_BYTES_MAX


def give(path: Path, uid: int) -> None:
    """Make `uid` the owner of our tree at `path`, if we are root. The top goes last, as the sign that all is done."""
    if os.geteuid() != 0 or path.lstat().st_uid == uid:
        return
    for folder, folders, files in os.walk(path, topdown=False):
        for name in (*folders, *files):
            os.lchown(os.path.join(folder, name), uid, -1)
    os.lchown(path, uid, -1)


def copy_once(source: Path, target: Path) -> Path:
    """Copy the tree `source` to `target`, completely or not at all."""
    if not target.exists():
        unfinished = target.with_name(target.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(source, unfinished, symlinks=True)
        unfinished.rename(target)
    return target


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Reserve `data_dir` for this process. The kernel releases it when we die, however we die."""
    with explained():
        descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperatorError(
                f"`flash up` is already running here (pid {_written(descriptor)}, data in {data_dir}): "
                "stop it, or set FLASH_DATA_DIR to another directory"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def holder(data_dir: Path) -> str | None:
    """The pid of the process that has reserved `data_dir`, as text; None if nobody has."""
    try:
        descriptor = os.open(data_dir / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OperatorError(f"cannot look into {data_dir}: {error.strerror}; run this as its owner") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _written(descriptor)
    finally:
        os.close(descriptor)  # and with it the lock that we may have got
    return None


def _written(descriptor: int) -> str:
    return os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
