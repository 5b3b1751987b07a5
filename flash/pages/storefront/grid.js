/**
 * A grid of any number of tiles, of which only the rows in view are in the document. It follows the ARIA grid pattern:
 * one tile is in the tab order, arrows move from there, and the row of the focused tile is never taken away.
 *
 * `source` says what is shown: `describe(index)` gives `{ name, number, stamp, image, swatch, isSold, isMine, isClosed }`, or null while
 * it is unknown.
 *
 * Rows that leave the view at one end come in at the other: they stay in the document, and only what they say and where
 * they are changes. So while the page scrolls their order in the document is not that of the items; it is put right when
 * the page stands, and before the focus moves.
 */

import { stepOf } from "./grid-keys.js";
import { Motion } from "./motion.js";
import { Pictures } from "./pictures.js";
import { Tile } from "./tile.js";

const TILE_MIN_PX = { narrow: 148, wide: 176 };
const NARROW_PX = 640;
const GAP_PX = { narrow: 14, wide: 20 };
/** The name, of which the second line is often empty, so rows need little space between them. */
const CAPTION_PX = 46;
const ROW_GAP_PX = 14;
const ROWS_BEYOND = 2;
/** Tiles that nobody sees yet: a whole row of a wide window would take a phone a frame of its own. */
const TILES_BEYOND_PER_FRAME = 2;
/** Signs that somebody may scroll soon. Before them only what is in view is drawn, so the first view is light. */
const STIRRINGS = ["pointermove", "touchstart", "wheel", "scroll"];

export class Grid {
  #element;
  #source;
  #count = 0;
  #columns = 1;
  #rowPx = 1;
  /** Row by number; some of them may be out of view, until they are needed elsewhere. */
  #rows = new Map();
  #active = 0;
  #activeTile = null;
  #isAsked = false;
  #rowsBeyond = 0;
  #motion = new Motion();
  #pictures = new Pictures(this.#motion);

  constructor(element, source) {
    this.#element = element;
    this.#source = source;
    new ResizeObserver(() => this.#layOut()).observe(element);
    addEventListener("scroll", () => this.#ask(), { passive: true });
    for (const type of STIRRINGS) addEventListener(type, () => this.#drawMore(), { once: true, passive: true });
    addEventListener("resize", () => this.#ask(), { passive: true });
    this.#motion.addEventListener("settle", () => this.#settle());
    element.addEventListener("keydown", (event) => this.#onKey(event));
    element.addEventListener("focusin", (event) => this.#onFocus(event));
    element.addEventListener("click", (event) => {
      const tile = event.target.closest(".tile");
      if (tile) source.pick(Number(tile.dataset.index));
    });
  }

  /** Show `count` tiles from now on. */
  show(count) {
    this.#count = count;
    this.#active = Math.min(this.#active, Math.max(0, count - 1));
    this.#clear();
    this.#layOut();
  }

  /** Draw again what is in view. `drained`: these have just been sold, and are seen to be. */
  refresh(drained = new Set()) {
    for (const [number, row] of this.#rows) {
      row.filled = 0;
      this.#fill(row, number, Infinity, drained);
    }
  }

  /** Put the focus on the tile that is in the tab order. */
  enter() {
    this.focus(this.#active);
  }

  /** Put the focus on a tile, scrolling to it if it is out of view. */
  focus(index) {
    if (index < 0 || index >= this.#count) return;
    this.#active = index;
    this.#scrollTo(Math.floor(index / this.#columns));
    this.#draw();
    this.#settle();
    this.#tile(index)?.button.focus({ preventScroll: true });
  }

  get #hasFocus() {
    return this.#element.contains(document.activeElement);
  }

  #layOut() {
    const width = this.#element.clientWidth;
    if (!width) return;
    const size = innerWidth < NARROW_PX ? "narrow" : "wide";
    const columns = Math.max(2, Math.floor((width + GAP_PX[size]) / (TILE_MIN_PX[size] + GAP_PX[size])));
    const tilePx = (width - GAP_PX[size] * (columns - 1)) / columns;
    if (columns !== this.#columns) this.#clear();
    this.#columns = columns;
    this.#rowPx = Math.round(tilePx + CAPTION_PX + ROW_GAP_PX);
    this.#pictures.sidePx = tilePx;
    const rowCount = Math.ceil(this.#count / columns);
    this.#element.style.setProperty("--columns", columns);
    this.#element.style.setProperty("--gap", `${GAP_PX[size]}px`);
    this.#element.style.setProperty("--row", `${this.#rowPx}px`);
    this.#element.style.height = `${rowCount * this.#rowPx}px`;
    this.#element.setAttribute("aria-rowcount", rowCount);
    this.#element.setAttribute("aria-colcount", columns);
    for (const [number, row] of this.#rows) this.#place(row, number);
    this.refresh();
    this.#draw();
  }

  #drawMore() {
    this.#rowsBeyond = ROWS_BEYOND;
    this.#ask();
  }

  #ask() {
    if (this.#isAsked) return;
    this.#isAsked = true;
    requestAnimationFrame(() => {
      this.#isAsked = false;
      this.#draw();
    });
  }

  #draw() {
    const top = -this.#element.getBoundingClientRect().top;
    const rowCount = Math.ceil(this.#count / this.#columns);
    const inView = {
      first: Math.min(Math.max(0, Math.floor(top / this.#rowPx)), Math.max(0, rowCount - 1)),
      end: Math.min(rowCount, Math.ceil((top + innerHeight) / this.#rowPx)),
    };
    const drawn = {
      first: Math.max(0, inView.first - this.#rowsBeyond),
      end: Math.min(rowCount, inView.end + this.#rowsBeyond),
    };
    const pinned = this.#hasFocus ? Math.floor(this.#active / this.#columns) : null;
    this.#pictures.lookAt(Math.floor((inView.first + inView.end) / 2) * this.#columns);
    const isSpare = (number) => number !== pinned && (number < drawn.first || number >= drawn.end);
    const spare = [...this.#rows.keys()].filter(isSpare);
    let filled = 0;
    for (let number = inView.first; number < inView.end; number += 1) filled += this.#mount(number, spare);
    if (pinned !== null && pinned < rowCount) filled += this.#mount(pinned, spare);
    this.#drawBeyond(inView, drawn, spare, this.#motion.isScrolling ? TILES_BEYOND_PER_FRAME - filled : Infinity);
    if (!this.#motion.isScrolling) this.#settle();
  }

  #drawBeyond(inView, drawn, spare, tilesMax) {
    const beyond = [];
    for (let number = inView.end; number < drawn.end; number += 1) beyond.push(number);
    for (let number = inView.first - 1; number >= drawn.first; number -= 1) beyond.push(number);
    let left = tilesMax;
    for (const number of beyond) {
      if (this.#rows.get(number)?.filled === this.#columns) continue;
      if (left <= 0) return this.#ask();
      left -= this.#mount(number, spare, left);
    }
  }

  /** Let the row be there, with what one of the spare ones consists of. How many of its tiles have been filled. */
  #mount(number, spare, tilesMax = Infinity) {
    if (!this.#rows.has(number)) {
      const from = spare.pop();
      const row = from === undefined ? this.#makeRow() : this.#rows.get(from);
      this.#rows.delete(from);
      this.#rows.set(number, row);
      row.filled = 0;
      this.#place(row, number);
    }
    return this.#fill(this.#rows.get(number), number, tilesMax);
  }

  #makeRow() {
    const row = { element: document.createElement("div"), tiles: [], filled: 0 };
    row.element.className = "row";
    row.element.setAttribute("role", "row");
    for (let column = 0; column < this.#columns; column += 1) row.tiles.push(new Tile(column, this.#pictures));
    row.element.append(...row.tiles.map((tile) => tile.cell));
    this.#element.append(row.element);
    return row;
  }

  #clear() {
    for (const { element, tiles } of this.#rows.values()) {
      element.remove();
      for (const tile of tiles) tile.empty();
    }
    this.#rows.clear();
    this.#activeTile = null;
  }

  #place(row, number) {
    row.element.style.transform = `translateY(${number * this.#rowPx}px)`;
    row.element.setAttribute("aria-rowindex", number + 1);
  }

  /** Fill up to so many of the row's tiles that are not filled yet. How many it were. */
  #fill(row, number, tilesMax, drained = new Set()) {
    const from = row.filled;
    row.filled = Math.min(this.#columns, from + tilesMax);
    for (let column = from; column < row.filled; column += 1) {
      const tile = row.tiles[column];
      const index = number * this.#columns + column;
      tile.cell.hidden = index >= this.#count;
      if (tile.cell.hidden) tile.empty();
      else tile.fill(index, this.#source.describe(index), drained.has(index));
    }
    return row.filled - from;
  }

  /** The page stands: what is in view can be reached by Tab, and is read in its order. */
  #settle() {
    if (!this.#hasFocus) {
      const top = -this.#element.getBoundingClientRect().top;
      const first = Math.max(0, Math.ceil(top / this.#rowPx)) * this.#columns;
      this.#active = Math.min(first, Math.max(0, this.#count - 1));
    }
    this.#sort();
    this.#markActive();
  }

  /** Put the rows into their order, but do not move the one that has the focus: it would lose it. */
  #sort() {
    const numbers = [...this.#rows.keys()].sort((one, other) => one - other);
    const rows = numbers.map((number) => this.#rows.get(number).element);
    const fixed = Math.max(0, rows.findIndex((row) => row.contains(document.activeElement)));
    for (let place = fixed + 1; place < rows.length; place += 1) {
      if (rows[place - 1].nextElementSibling !== rows[place]) rows[place - 1].after(rows[place]);
    }
    for (let place = fixed - 1; place >= 0; place -= 1) {
      if (rows[place + 1].previousElementSibling !== rows[place]) rows[place + 1].before(rows[place]);
    }
  }

  #tile(index) {
    return this.#rows.get(Math.floor(index / this.#columns))?.tiles[index % this.#columns];
  }

  #markActive() {
    const tile = this.#tile(this.#active)?.button ?? null;
    if (tile === this.#activeTile) return;
    if (this.#activeTile) this.#activeTile.tabIndex = -1;
    if (tile) tile.tabIndex = 0;
    this.#activeTile = tile;
  }

  #onFocus(event) {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    this.#active = Number(tile.dataset.index);
    this.#markActive();
  }

  #onKey(event) {
    if (event.altKey || event.metaKey) return;
    const pageRows = Math.max(1, Math.floor(innerHeight / this.#rowPx) - 1);
    const step = stepOf(event, { active: this.#active, columns: this.#columns, count: this.#count, pageRows });
    if (step === null) return;
    event.preventDefault();
    this.focus(Math.min(Math.max(0, step), this.#count - 1));
  }

  /** Scroll just so far that the row is in view, below what sticks to the top. */
  #scrollTo(row) {
    const covered = parseFloat(getComputedStyle(this.#element).scrollMarginTop);
    const top = this.#element.getBoundingClientRect().top + row * this.#rowPx;
    if (top < covered) scrollBy({ top: top - covered, behavior: "instant" });
    const below = top + this.#rowPx - innerHeight;
    if (below > 0) scrollBy({ top: below, behavior: "instant" });
  }
}
