"""What a waiting person sees of a run, and where a section notes what is wrong or missing."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Console

from benchmarks.findings import Findings


class Progress:
    """A spinner for the present step, then a line with its result."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self._console, self._began = Console(stderr=True, highlight=False), time.monotonic()
        self.status, self._step = self._console.status("starting", refresh_per_second=4), ""

    def lack(self, text: str) -> None:
        self.findings.not_measured.append(text)

    def note_wrong(self, wrong: Iterable[str]) -> None:
        self.findings.wrong += [f"{self._step}: {text}" for text in wrong]

    def begin(self, step: str) -> None:
        self._step = step
        self.status.update(step)

    def done(self, result: str) -> None:
        elapsed = time.monotonic() - self._began
        self._console.print(f"{elapsed:6.1f} s  {self._step}: {result}", soft_wrap=True, markup=False)
