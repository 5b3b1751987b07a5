"""Requests are counted by what the service calls them, never by what a client wrote."""

from __future__ import annotations

from flash.http.message import Request, Response
from flash.http.request_counts import RequestCounts


def test_no_text_of_a_client_becomes_a_label() -> None:
    counts = RequestCounts()
    for method, raw in (("PROPFIND", b"/x"), ("GET", b"/users/ann"), ("BREW", b"/coffee")):
        counts.note(Request(method, "", raw, b"", []), Response(404, b"", code="not_found"), 0.1)
    assert set(counts.by_kind) == {("other", "other", 404, "not_found")}
    assert sum(histogram.count for histogram in counts.by_kind.values()) == 3
