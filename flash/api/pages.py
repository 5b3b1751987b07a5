"""The pages that browsers load, under `/pages/…`, and those that have an address of their own."""

from __future__ import annotations

from functools import cache
from importlib import resources

from flash.http.static_files import StaticFiles

PREFIX = "/pages"


@cache
def page_files() -> StaticFiles:
    """What lies in `flash/pages`, loaded once for all applications of this process."""
    return StaticFiles(resources.files("flash.pages"))
