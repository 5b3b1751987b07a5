"""Draws the pictures of the documents: `python docs/pictures/draw.py [FOLDER]` writes two SVG files.

They stand in Markdown as images, where no style of the page reaches them. So they bring their own paper, which is
readable on a light page and on a dark one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.sax.saxutils import escape

PAPER, INK, GREY, LINE, ACCENT, SUCCESS = "#faf8f4", "#1b1a17", "#6b675f", "#d9d4ca", "#c23a17", "#1f7a4d"
TINT = "#f1ede5"
FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif"


class Drawing:
    """Shapes in the order in which they are painted. Sizes are pixels at full width."""

    def __init__(self, width: int, height: int, title: str, description: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-labelledby="title description" font-family="{FONT}">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="description">{escape(description)}</desc>',
            "<defs>",
            *(_arrow_head(name, colour) for name, colour in (("ink", GREY), ("accent", ACCENT), ("ok", SUCCESS))),
            "</defs>",
            f'<rect width="{width}" height="{height}" rx="12" fill="{PAPER}"/>',
        ]

    def text(
        self,
        x: float,
        y: float,
        *lines: str,
        size: int = 14,
        colour: str = INK,
        bold: bool = False,
        anchor: str = "start",
        over_lines: bool = False,
    ) -> None:
        """Lines of text below each other; `y` is the base line of the first one."""
        weight = ' font-weight="650"' if bold else ""
        weight += f' paint-order="stroke" stroke="{PAPER}" stroke-width="5"' if over_lines else ""
        for number, line in enumerate(lines):
            self._parts.append(
                f'<text x="{x:g}" y="{y + number * size * 1.35:g}" font-size="{size}" fill="{colour}"{weight} '
                f'text-anchor="{anchor}">{escape(line)}</text>'
            )

    def box(self, x: float, y: float, width: float, height: float, *, fill: str = TINT, dashed: bool = False) -> None:
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="10" fill="{fill}" '
            f'stroke="{LINE}" stroke-width="1.5"{dash}/>'
        )

    def line(self, *points: tuple[float, float], colour: str = LINE, width: float = 1.5, dashed: bool = False) -> None:
        self._path(points, colour, width, dashed, "")

    def arrow(self, *points: tuple[float, float], kind: str = "ink", both: bool = False, dashed: bool = False) -> None:
        colour = {"ink": GREY, "accent": ACCENT, "ok": SUCCESS}[kind]
        start = f' marker-start="url(#{kind})"' if both else ""
        self._path(points, colour, 2, dashed, f' marker-end="url(#{kind})"{start}')

    def dot(self, x: float, y: float, number: int, colour: str = ACCENT) -> None:
        """The number of a step, in a disc."""
        self._parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="11" fill="{colour}"/>')
        self.text(x, y + 4.5, str(number), size=12, colour=PAPER, bold=True, anchor="middle")

    def write(self, file: Path) -> None:
        file.write_text("\n".join([*self._parts, "</svg>", ""]), encoding="utf-8")

    def _path(
        self, points: tuple[tuple[float, float], ...], colour: str, width: float, dashed: bool, markers: str
    ) -> None:
        data = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<path d="{data}" fill="none" stroke="{colour}" stroke-width="{width:g}" stroke-linejoin="round"'
            f"{dash}{markers}/>"
        )


def _arrow_head(name: str, colour: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z" fill="{colour}"/></marker>'
    )


def architecture() -> Drawing:
    """Which processes there are, what each does, and what goes between them."""
    d = Drawing(
        1080,
        650,
        "How flash is built",
        "Web processes take requests, record every checkout in PostgreSQL, and send purchases through Redis to the "
        "inventory process that leads the sale, which commits them in PostgreSQL under a fence.",
    )
    d.text(32, 44, "How flash is built", size=20, bold=True)
    d.text(32, 68, "Any number of each process, on any host. PostgreSQL alone is believed.", colour=GREY)
    _processes(d)
    _database(d)
    _arrows(d)
    _key(d)
    return d


def _processes(d: Drawing) -> None:
    d.box(32, 164, 140, 166, fill=PAPER)
    d.text(102, 198, "buyers", "and visitors", bold=True, anchor="middle")
    d.text(102, 246, "browser, app,", "flash buy, curl", size=12, colour=GREY, anchor="middle")
    d.text(102, 300, "through your proxy", size=12, colour=GREY, anchor="middle")

    _stack(d, 252, 104, 284, 288)
    d.text(272, 134, "web \N{MULTIPLICATION SIGN} N", size=16, bold=True)
    _rows(
        d,
        272,
        166,
        ("HTTP", "own connection, TLS by Hypercorn"),
        ("admission", "what would wait too long hears 503"),
        ("checkout batcher", "all that waits, in one statement"),
        ("purchase client", "checks the code, asks the leader"),
        ("read model", "lists, pictures, events from memory"),
    )

    d.box(604, 104, 152, 288, fill=PAPER, dashed=True)
    d.text(680, 134, "Redis", size=16, bold=True, anchor="middle")
    d.text(680, 155, "elects and carries", size=12, colour=GREY, anchor="middle")
    for y, what in (
        (204, "inbox of each sale"),
        (254, "replies, what is sold"),
        (304, "leases"),
        (340, "status board"),
    ):
        d.text(680, y, what, size=13, anchor="middle")
    d.text(680, 376, "may lose all of it", size=12, colour=GREY, anchor="middle")

    _stack(d, 816, 104, 224, 288)
    d.text(836, 134, "inventory \N{MULTIPLICATION SIGN} M", size=16, bold=True)
    _rows(
        d,
        836,
        166,
        ("lease elector", "takes leases, leads sales"),
        ("actor of each sale", "decides in memory, in order"),
        ("sale scheduler", "makes sales on time"),
    )
    d.text(
        836,
        334,
        "One process leads a sale. If two",
        "think so, one can commit, and",
        "the other one stops.",
        size=12,
        colour=GREY,
    )


def _database(d: Drawing) -> None:
    d.box(252, 478, 788, 132)
    d.text(272, 508, "PostgreSQL", size=16, bold=True)
    d.text(1020, 508, "the only truth", colour=GREY, anchor="end")
    for x, name, what in (
        (272, "checkouts", ("every attempt,", "with its outcome")),
        (500, "sales", ("sold, epoch and token:", "the fence of every commit")),
        (756, "purchases", ("an item once, a code once,", "10 items to a buyer")),
    ):
        d.text(x, 542, name, bold=True)
        d.text(x, 563, *what, size=13, colour=GREY)


def _arrows(d: Drawing) -> None:
    d.arrow((176, 238), (248, 238), kind="accent", both=True)
    d.text(212, 228, "HTTP", size=12, colour=GREY, anchor="middle")
    d.arrow((540, 200), (600, 200), kind="accent")
    d.arrow((760, 200), (812, 200), kind="accent")
    d.arrow((812, 250), (760, 250), kind="ok")
    d.arrow((600, 250), (540, 250), kind="ok")
    d.arrow((812, 300), (760, 300))
    d.arrow((330, 396), (330, 474), kind="accent", both=True)
    d.text(342, 426, "attempts, many", "in one commit", size=12, colour=GREY)
    d.arrow((474, 474), (474, 396), dashed=True)
    d.text(486, 426, "what is sold, looked", "at twice a second", size=12, colour=GREY)
    d.arrow((928, 396), (928, 474), kind="accent", both=True)
    d.text(916, 426, "purchases under the fence,", "many in one commit", size=12, colour=GREY, anchor="end")


def _key(d: Drawing) -> None:
    for y, kind, what in ((420, "accent", "what a buyer asks"), (444, "ok", "the answer")):
        d.arrow((32, y), (72, y), kind=kind)
        d.text(84, y + 4, what, size=12, colour=GREY)
    d.text(32, 508, "A buyer hears yes when it is", "durable, and not before.", size=13)
    d.text(32, 563, "No process keeps anything that", "is needed after its end.", size=13)


def _stack(d: Drawing, x: float, y: float, width: float, height: float) -> None:
    """A box with another one behind it: there are several of these."""
    d.box(x + 7, y - 7, width, height, fill=PAPER)
    d.box(x, y, width, height)


def _rows(d: Drawing, x: float, y: float, *rows: tuple[str, str]) -> None:
    for number, (name, what) in enumerate(rows):
        d.text(x, y + number * 47, name, bold=True)
        d.text(x, y + number * 47 + 18, what, size=13, colour=GREY)


LANES = {"buyer": 64, "web": 232, "Redis": 400, "leader": 560, "PostgreSQL": 726}
NOTES = 806


def purchase() -> Drawing:
    """A checkout and a purchase, step by step, and what becomes of them if the step goes wrong."""
    d = Drawing(
        1140,
        850,
        "The life of a purchase",
        "A checkout is stored by one statement in PostgreSQL and answered with a code. A purchase goes from the web "
        "process through the sale's inbox in Redis to its leader, which decides in memory and commits under a fence.",
    )
    d.text(32, 44, "The life of a purchase", size=20, bold=True)
    d.text(32, 68, "Every step may fail. The column on the right says what becomes of it then.", colour=GREY)
    for name, x in LANES.items():
        d.line((x, 118), (x, 816))
        d.text(x, 104, name, size=15, bold=True, anchor="middle")
    d.text(NOTES, 104, "if it goes wrong here", size=15, bold=True)

    step = _Steps(d)
    step("buyer", "web", "POST /checkout", "who, which item", note=("a malformed attempt is stored, too",))
    step(
        "web",
        "PostgreSQL",
        "all that waits: decide and store, one statement",
        note=("nobody is answered, each may try again:", "a checkout holds nothing"),
    )
    step("web", "buyer", "the code", "sale, item, buyer, seal", note=("lost: check out again",), kind="ok")
    d.line((32, step.y - 14), (1108, step.y - 14), dashed=True)
    step.y += 30
    step(
        "buyer",
        "web",
        "POST /purchase",
        "the code, and a key",
        note=("forged: refused here, no store is asked", "too many wait: 503 at once, nothing started"),
    )
    step(
        "web",
        "Redis",
        "into the sale's inbox",
        "one entry for many",
        note=("Redis loses it: sent again, with the same id",),
    )
    step(
        "Redis",
        "leader",
        "the batch",
        note=("the leader dies: another one leads in 3 s,", "and finds the inbox as it was"),
    )
    step.stay("leader", "decides in memory, in order")
    step(
        "leader",
        "PostgreSQL",
        "fence + purchases",
        "one statement",
        note=(
            "it leads no more: the fence fits no row,",
            "nothing is stored, it stops and tells nobody",
            "the disk is full: nothing is stored, 503",
        ),
    )
    step(
        "PostgreSQL",
        "leader",
        "committed",
        "the time",
        note=("not heard: it stops; the next leader reads", "what is stored, and answers from that"),
        kind="ok",
    )
    step(
        "leader",
        "Redis",
        "replies",
        "and what is sold",
        note=("lost: the command is decided again, and", "found to be sold already"),
        kind="ok",
    )
    step("Redis", "web", "", kind="ok", same=True)
    step(
        "web",
        "buyer",
        "the receipt",
        note=("not heard: POST again with the same key, or", "GET /purchases/{code}: the same receipt"),
        kind="ok",
    )
    return d


class _Steps:
    """Steps one below the other."""

    def __init__(self, d: Drawing) -> None:
        self.y = 148.0
        self._d = d
        self._number = 0

    def __call__(
        self,
        start: str,
        end: str,
        what: str,
        detail: str = "",
        *,
        note: tuple[str, ...] = (),
        kind: str = "accent",
        same: bool = False,
    ) -> None:
        """An arrow with what it carries. `same`: it goes on at the height of the step before."""
        d, a, b = self._d, LANES[start], LANES[end]
        y = self.y - 62 if same else self.y
        gap = 14 if b > a else -14
        d.arrow((a + gap, y), (b - gap * 0.3, y), kind=kind)
        if same:
            return
        self._number += 1
        d.dot(a, y, self._number, ACCENT if kind == "accent" else SUCCESS)
        left = min(a, b) + 20
        d.text(left, y - 9, what, size=13, over_lines=True)
        d.text(left, y + 19, detail, size=12, colour=GREY, over_lines=True)
        d.text(NOTES, y + 4 - 8.5 * (len(note) - 1), *note, size=13, colour=GREY)
        self.y += 62

    def stay(self, lane: str, what: str) -> None:
        x, y = LANES[lane], self.y - 20
        self._d.box(x - 96, y - 15, 192, 28)
        self._d.text(x, y + 4, what, size=12, anchor="middle")
        self.y += 26


def main(folder: Path) -> None:
    architecture().write(folder / "architecture.svg")
    purchase().write(folder / "purchase.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
