"""What a frame costs the page while the storefront scrolls, beside another commit: a command, not a test.

    .venv/bin/python -m tests.browser.scrolling http://localhost:8080 --against HEAD~1

Chromium draws the pages of this checkout and of that commit in turn, all from the same running shop. Counted is the CPU
time of the page's main thread in each frame, times --slower, since frames that come late would tell of this machine's
other work as well. A mid phone is four times slower than a desktop, and a frame has 16.7 ms.
"""

from __future__ import annotations

import argparse
import bisect
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route, sync_playwright

from tests.browser.conftest import CHROMIUM, FLAGS

ROOT = Path(__file__).resolve().parents[2]
BUDGET_MS = 1000 / 60
SETTLE_MS = 800
SPEEDS = {"drag": 0.6, "flick": 2.5, "fling": 10.0}
"""Pixels in a millisecond."""
DEVICES: dict[str, dict[str, Any]] = {
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
    "wide": {"viewport": {"width": 1280, "height": 800}},
}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Scrolls for `ms`; the share of the tiles then in view that have no picture yet.
SCROLL = """([speed, ms]) => new Promise((resolve) => {
  const [begin, top] = [performance.now(), scrollY];
  const isInView = (tile) => {
    const { top, bottom } = tile.getBoundingClientRect();
    return bottom > 0 && top < innerHeight;
  };
  const step = () => {
    const past = performance.now() - begin;
    scrollTo(0, top + speed * past);
    if (past < ms) return requestAnimationFrame(step);
    const tiles = [...document.querySelectorAll(".tile")].filter(isInView);
    resolve(tiles.filter((tile) => !tile.querySelector(".is-there")).length / Math.max(1, tiles.length));
  };
  requestAnimationFrame(step);
})"""


def main() -> None:
    options = parse_options()
    costs: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    blanks: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    pages = [None, options.against] if options.against else [None]
    with sync_playwright() as playwright:
        for _ in range(options.rounds):
            for device in DEVICES:
                for commit in pages:
                    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                    page = open_shop(browser, device, options.url, commit)
                    for speed in SPEEDS:
                        frames, blank = scroll(browser, page, SPEEDS[speed], options.seconds)
                        costs[device, speed, str(commit)] += [options.slower * ms for ms in frames]
                        blanks[device, speed, str(commit)].append(blank)
                    browser.close()
    report(costs, blanks, options)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.scrolling")
    parser.add_argument("url", help="a running shop of this machine, best with nothing sold")
    parser.add_argument(
        "--against", metavar="COMMIT", help="whose pages are measured in turn with those of this checkout"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of scrolling at each speed (default: 2)")
    parser.add_argument("--slower", type=float, default=4.0, help="how much slower the phone is than this machine (4)")
    return parser.parse_args()


def open_shop(browser: Browser, device: str, url: str, commit: str | None) -> Page:
    page = browser.new_context(**DEVICES[device]).new_page()
    page.route("**/pages/**", lambda route: serve(route, commit))
    page.route(f"{url}/", lambda route: serve(route, commit))
    page.goto(f"{url}/")
    page.wait_for_selector(".tile .is-there")
    page.wait_for_timeout(SETTLE_MS)
    return page


def serve(route: Route, commit: str | None) -> None:
    _, _, path = route.request.url.partition("/pages/")
    name = f"flash/pages/{path or 'storefront/index.html'}"
    if commit is None:
        body = (ROOT / name).read_bytes()
    else:
        body = subprocess.run(["git", "show", f"{commit}:{name}"], cwd=ROOT, check=True, capture_output=True).stdout
    route.fulfill(body=body, content_type=TYPES[Path(name).suffix])


def scroll(browser: Browser, page: Page, speed: float, seconds: float) -> tuple[list[float], float]:
    """The main thread's CPU milliseconds of each frame, and how much of the view was blank at the end."""
    folder = tempfile.mkdtemp()
    trace = Path(folder, "trace.json")
    browser.start_tracing(page=page, path=trace, categories=["toplevel", "devtools.timeline"])
    blank = page.evaluate(SCROLL, [speed, seconds * 1000])
    browser.stop_tracing()
    events = json.loads(trace.read_bytes())["traceEvents"]
    shutil.rmtree(folder)
    page.wait_for_timeout(SETTLE_MS)
    return frames_of(events), blank


def frames_of(events: list[dict[str, Any]]) -> list[float]:
    """A frame begins with its first animation callback, and has all tasks that end before the next one."""
    threads: dict[tuple[int, int], list[int]] = defaultdict(list)
    for event in events:
        if event["name"] == "FireAnimationFrame":
            threads[event["pid"], event["tid"]].append(event["ts"])
    main_thread = max(threads, key=lambda thread: len(threads[thread]))
    starts: list[int] = []
    for at in sorted(threads[main_thread]):
        if not starts or at - starts[-1] > 6_000:
            starts.append(at)
    costs, end = [0.0] * len(starts), 0
    tasks = [event for event in events if (event["pid"], event["tid"]) == main_thread and "tdur" in event]
    for task in sorted(tasks, key=lambda event: (event["ts"], -event["dur"])):
        if task["ts"] < end:
            continue  # it is part of one that has been counted
        end = task["ts"] + task["dur"]
        frame = bisect.bisect_right(starts, end) - 1
        if frame >= 0:
            costs[frame] += task["tdur"] / 1000
    return costs[2:-1]


def report(
    costs: dict[tuple[str, str, str], list[float]], blanks: dict[tuple[str, str, str], list[float]], options: Any
) -> None:
    say(f"main-thread CPU of a frame, times {options.slower:g}; the budget is {BUDGET_MS:.1f} ms")
    for (device, speed, commit), frames in costs.items():
        late = sum(ms > BUDGET_MS for ms in frames) / len(frames)
        before = costs.get((device, speed, str(options.against)))
        ratio = (
            ""
            if commit != "None" or before is None
            else f"  {statistics.mean(frames) / statistics.mean(before):.2f} of"
        )
        ratio += f" {options.against}'s" if ratio else ""
        p95 = statistics.quantiles(frames, n=20)[-1]
        blank = statistics.mean(blanks[device, speed, commit])
        say(
            f"{device:5} {speed:5} {'this checkout' if commit == 'None' else commit:13} {len(frames):5} frames"
            f"  mean {statistics.mean(frames):5.1f}  p95 {p95:5.1f} ms  above the budget {late:6.1%}"
            f"  without picture {blank:4.0%}{ratio}"
        )


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
