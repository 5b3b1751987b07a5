"""How `flash top` looks: lines of text from what was seen. No I/O, no clock, no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from flash.client.results import Sale
from flash.local.style import Style
from flash.terminal.printable import printable
from flash.terminal.top_history import Snapshot, TopHistory

_BAR_WIDTH = 24
_BARS = "▁▂▃▄▅▆▇█"
_SPARK_MAX = 60


def lines(history: TopHistory, url: str, width: int, style: Style) -> list[str]:
    """The whole screen, each line at most `width` characters wide."""
    return [_cut(line, width) for line in _lines(history, url, style)]


def _lines(history: TopHistory, url: str, style: Style) -> Iterator[str]:
    seen = history.latest
    yield style.bold("flash top") + style.dim(f"  {printable(url)}" + (f"  {seen.now:%H:%M:%S} UTC" if seen else ""))
    yield from _verdict(history, style)
    if seen is None:
        return
    yield ""
    yield from _speed(history, style)
    yield ""
    yield from _sales(history, seen, style)
    if seen.control is not None:
        yield ""
        yield from _processes(seen.control, style)
    else:
        yield ""
        yield style.dim("who leads, how long purchases take, and the processes: set FLASH_CONTROL_TOKEN")


def _verdict(history: TopHistory, style: Style) -> Iterator[str]:
    if history.error is not None:
        yield style.red(f"No answer: {printable(history.error.detail)}. Asking again each second.")
    elif history.latest is not None:
        level, text, action = _state(history.latest)
        yield {"ok": style.green, "warning": style.yellow}.get(level, style.red)(printable(text))
        if action:
            yield f"→ {printable(action)}"


def _state(seen: Snapshot) -> tuple[str, str, str]:
    """Level, sentence and action: the operator's if they are known, or else what anybody can tell."""
    told = (seen.control or {}).get("state")
    if isinstance(told, Mapping):
        return str(told.get("level")), str(told.get("text")), str(told.get("action") or "")
    if seen.health.get("status") != "ok":
        wrong = [name for name in ("database", "redis") if seen.health.get(name) not in (None, "ok")]
        what = " and ".join({"database": "PostgreSQL", "redis": "Redis"}[name] for name in wrong) or "the service"
        return "failing", f"Not healthy: {what} cannot be used. {seen.health.get('error', '')}".strip(), ""
    selling = [sale for sale in seen.sales if sale.status == "open"]
    return "ok", "Selling. All stores fine." if selling else "Nothing is left to buy. All stores fine.", ""


def _speed(history: TopHistory, style: Style) -> Iterator[str]:
    rates = [float(rate or 0) for rate in history.sales_per_second()]
    now = rates[-1] if rates else 0.0
    most = style.dim(f"most {max(rates, default=0):,.0f}")
    yield f"{style.bold(f'{now:,.0f}')} sold per second   {_spark(rates)}   {most}"
    series = (history.latest.control if history.latest and history.latest.control else {}).get("series")
    if isinstance(series, Mapping):
        p50, p99 = (_last_number(series.get(name)) for name in ("p50_ms", "p99_ms"))
        if p50 is not None and p99 is not None:
            yield f"purchases take {p50:,.0f} ms, 1 of 100 more than {p99:,.0f} ms"


def _last_number(values: object) -> float | None:
    numbers = [value for value in values if isinstance(value, (int, float))] if isinstance(values, list) else []
    return float(numbers[-1]) if numbers else None


def _spark(rates: Sequence[float]) -> str:
    """Zero is the lowest bar: amounts have a zero baseline."""
    most = max(rates, default=0.0) or 1.0
    return "".join(_BARS[round(rate / most * (len(_BARS) - 1))] for rate in rates[-_SPARK_MAX:])


def _sales(history: TopHistory, seen: Snapshot, style: Style) -> Iterator[str]:
    leaders = {told.get("id"): told for told in (seen.control or {}).get("sales") or ()}
    yield style.dim(f"{'sale':>6}  {'':{_BAR_WIDTH}}  {'sold':>17}  {'left':>9}  {'per s':>6}  status")
    for sale in seen.sales:
        rate = history.rate_by_sale.get(sale.id, 0.0)
        told = leaders.get(sale.id) or {}
        text = (
            f"{sale.id:>6}  {_bar(sale, style)}  {f'{sale.sold:,} of {sale.stock:,}':>17}  {sale.remaining:>9,}"
            f"  {rate:>6,.0f}  {_status(sale, seen.now, told)}"
        )
        yield text if sale.status == "open" else style.dim(text)


def _bar(sale: Sale, style: Style) -> str:
    full = sale.sold * _BAR_WIDTH // sale.stock if sale.stock else 0
    return "━" * full + (style.dim("─" * (_BAR_WIDTH - full)) if sale.status == "open" else "─" * (_BAR_WIDTH - full))


def _status(sale: Sale, now: datetime, told: Mapping[str, Any]) -> str:
    if told.get("paused"):
        return f"paused by {printable(str(told['paused'].get('by')))}"
    if sale.status == "upcoming":
        return f"opens in {_duration((sale.starts_at - now).total_seconds())}"
    since = f"open for {_duration((now - sale.starts_at).total_seconds())}" if sale.status == "open" else "sold out"
    leader = told.get("leader")
    if not isinstance(leader, Mapping):
        return since
    return f"{since}, led by {printable(str(leader.get('host')))}/{leader.get('pid')}, epoch {leader.get('epoch')}"


def _processes(control: Mapping[str, Any], style: Style) -> Iterator[str]:
    yield style.dim(
        f"{'process':<10}  {'where':<24}  {'version':<10}  {'age':>8}  {'req/s':>7}  {'sold/s':>7}  waiting"
    )
    for told in control.get("processes") or ():
        where = printable(f"{told.get('host')}/{told.get('pid')}")[:24]
        queues = ", ".join(_queue(queue) for queue in told.get("queues") or () if queue.get("waiting"))
        yield (
            f"{printable(str(told.get('role'))):<10}  {where:<24}  {printable(str(told.get('version'))):<10}"
            f"  {_duration(told.get('age_seconds') or 0):>8}  {told.get('requests_per_second') or 0:>7,.0f}"
            f"  {told.get('sales_per_second') or 0:>7,.0f}  {queues or '0'}"
        )


def _queue(told: Mapping[str, Any]) -> str:
    wait = told.get("estimated_wait_ms")
    return f"{told['waiting']} {printable(str(told.get('name')))}" + (f" ({wait:,.0f} ms)" if wait is not None else "")


def _duration(seconds: float) -> str:
    """The two largest units: 45 s, 23:41 (minutes and seconds), 2 h 05."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600} h {whole % 3600 // 60:02}" if whole < 2 * 86400 else f"{whole // 86400} days"


def _cut(line: str, width: int) -> str:
    """`line` without what is beyond `width`; sequences that style it take no room."""
    kept, room, index = [], width, 0
    while index < len(line):
        if line[index] == "\033":
            end = line.index("m", index) + 1
            kept.append(line[index:end])
            index = end
            continue
        if room > 0:
            kept.append(line[index])
            room -= 1
        index += 1
    return "".join(kept)
