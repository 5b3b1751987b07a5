"""The verdict as one HTML page that needs no other file: sales over time with the faults drawn in, tables, checks."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from string import Template

from drill.picture import draw
from drill.verdict import SHOWN_MAX, Record, recovery_seconds

_TEMPLATE = Path(__file__).with_name("report.html")


def page(record: Record) -> str:
    """The whole page."""
    gap, gap_at = record.longest_gap()
    numbers = [
        (f"{len(record.faults):,}", "faults"),
        (f"{record.take_overs:,}", "take-overs"),
        (f"{record.purchases:,}", "items sold"),
        (f"{gap:.1f} s", f"longest time without a sale, at {gap_at:.0f} s"),
        (f"{len(record.checks['lost']):,}", "lost"),
        (f"{len(record.checks['unexpected']):,}", "unexpected"),
        (f"{len(record.checks['false refusals']):,}", "false refusals"),
    ]
    return Template(_TEMPLATE.read_text("utf-8")).substitute(
        verdict="Clean: nothing contradicts the promises" if record.is_clean else "Not clean: see what is wrong below",
        tone="good" if record.is_clean else "bad",
        numbers="".join(f"<div><b>{number}</b><span>{escape(text)}</span></div>" for number, text in numbers),
        picture=draw(record),
        checks="".join(_checks(record)),
        faults="".join(_faults(record)),
        calls="".join(_calls(record)),
        timeline="".join(_timeline(record)),
        command=escape(record.command),
        seed=record.seed,
    )


def _checks(record: Record) -> Iterator[str]:
    for name, wrong in record.checks.items():
        state = f'<td class="bad">{len(wrong)} wrong</td>' if wrong else '<td class="good">0, holds</td>'
        yield f"<tr><th>{escape(name)}</th>{state}</tr>"
        if wrong:
            shown = "\n".join(escape(text) for text in wrong[:SHOWN_MAX])
            yield f'<tr><td colspan="2"><pre>{shown}</pre></td></tr>'


def _faults(record: Record) -> Iterator[str]:
    for name, faults in record.by_kind().items():
        recovered = recovery_seconds(faults)
        middle, worst = (f"{recovered[len(recovered) // 2]:.2f} s", f"{recovered[-1]:.2f} s") if recovered else ("", "")
        meaning = escape(faults[0].kind.meaning)
        cells = f'<td class="n">{len(faults)}</td><td class="n">{middle}</td><td class="n">{worst}</td>'
        yield f"<tr><th>{escape(name)}</th><td>{meaning}</td>{cells}</tr>"


def _calls(record: Record) -> Iterator[str]:
    for kind, counted in sorted(record.outcomes().items()):
        for outcome, count in counted.most_common():
            yield f'<tr><th>{escape(kind)}</th><td>{escape(outcome)}</td><td class="n">{count:,}</td></tr>'


def _timeline(record: Record) -> Iterator[str]:
    for fault in record.faults:
        after = "nothing was sold" if fault.resumed is None else f"{fault.resumed - fault.healed:.2f} s"
        began, lasted = fault.began - record.began, fault.healed - fault.began
        yield (
            f'<tr><td class="n">{began:.1f} s</td><th>{escape(fault.kind.name)}</th><td>{escape(fault.what)}</td>'
            f'<td class="n">{lasted:.1f} s</td><td class="n">{after}</td></tr>'
        )
