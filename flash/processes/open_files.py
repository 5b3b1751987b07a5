"""How many files this process may have open: every client is one, and the usual limit is made for programs with few."""

from __future__ import annotations

import logging
import resource
from contextlib import suppress

from flash.http.connection_set import DESCRIPTORS_KEPT

log = logging.getLogger(__name__)


def allow_connections(wanted: int) -> None:
    """Raise the limit as far as it must be, or may be, for `wanted` clients. Warns if that is not enough."""
    files = wanted + DESCRIPTORS_KEPT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not _allows(soft, files):
        with suppress(ValueError, OSError):  # macOS has another limit besides
            resource.setrlimit(resource.RLIMIT_NOFILE, (files if _allows(hard, files) else hard, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not _allows(soft, files):
        log.warning(
            "the limit of open files (ulimit -n) is %d: FLASH_CONNECTIONS_MAX=%d needs %d; fewer clients are let in",
            *(soft, wanted, files),
        )


def _allows(limit: int, files: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= files
