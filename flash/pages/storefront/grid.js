/**
 * A grid of any number of tiles, of which only the rows in view are in the document. It follows the ARIA grid pattern:
 * one tile is in the tab order, arrows move from there, and the row of the focused tile is never taken away.
 *
 * `source` says what is shown: `describe(index)` gives `{ name, number, stamp, image, swatch, isSold, isMine, isClosed }`, or null while
 * it is unknown. Rows are used again, so drawing costs what changes and no more.
 */

import { prefersStillness } from "./dom.js";
import { Pictures } from "./pictures.js";

const TILE_MIN_PX = { narrow: 148, wide: 176 };
const NARROW_PX = 640;
const GAP_PX = { narrow: 14, wide: 20 };
const CAPTION_PX = 52;
const ROWS_BEYOND = 2;
/** Before anybody scrolls. The first view is light. */
const ROWS_BEYOND_AT_FIRST = 1;

export class Grid {
  #element;
  #source;
  #count = 0;
  #columns = 1;
  #rowPx = 1;
  #rows = new Map();
  #spare = [];
  #active = 0;
  #isAsked = false;
  #rowsBeyond = ROWS_BEYOND_AT_FIRST;
  #pictures = new Pictures();

  constructor(element, source) {
    this.#element = element;
    this.#source = source;
    new ResizeObserver(() => this.#layOut()).observe(element);
    addEventListener("scroll", () => this.#ask(), { passive: true });
    addEventListener("scroll", () => (this.#rowsBeyond = ROWS_BEYOND), { once: true });
    addEventListener("resize", () => this.#ask(), { passive: true });
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
    for (const number of [...this.#rows.keys()]) this.#release(number);
    this.#layOut();
  }

  /** Draw again what is in view. `drained`: these have just been sold, and are seen to be. */
  refresh(drained = new Set()) {
    for (const [number, row] of this.#rows) this.#fill(row, number, drained);
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
    this.#tile(index)?.focus({ preventScroll: true });
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
    const hasOtherRows = columns !== this.#columns;
    if (hasOtherRows) for (const number of [...this.#rows.keys()]) this.#release(number);
    this.#columns = columns;
    this.#rowPx = Math.round(tilePx + CAPTION_PX + GAP_PX[size]);
    const rowCount = Math.ceil(this.#count / columns);
    this.#element.style.setProperty("--columns", columns);
    this.#element.style.setProperty("--gap", `${GAP_PX[size]}px`);
    this.#element.style.height = `${rowCount * this.#rowPx}px`;
    this.#element.setAttribute("aria-rowcount", rowCount);
    this.#element.setAttribute("aria-colcount", columns);
    for (const [number, row] of this.#rows) this.#place(row, number);
    this.#draw();
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
    const first = Math.max(0, Math.floor(top / this.#rowPx) - this.#rowsBeyond);
    const end = Math.min(rowCount, Math.ceil((top + innerHeight) / this.#rowPx) + this.#rowsBeyond);
    if (!this.#hasFocus) this.#active = Math.min(Math.max(0, Math.ceil(top / this.#rowPx)) * this.#columns, Math.max(0, this.#count - 1));
    const pinned = Math.floor(this.#active / this.#columns);
    for (const number of [...this.#rows.keys()]) {
      if ((number < first || number >= end) && !(number === pinned && this.#hasFocus)) this.#release(number);
    }
    for (let number = first; number < end; number += 1) if (!this.#rows.has(number)) this.#mount(number);
    if (pinned < rowCount && this.#hasFocus && !this.#rows.has(pinned)) this.#mount(pinned);
    this.#markActive();
  }

  #mount(number) {
    const row = this.#spare.pop() ?? makeRow();
    this.#fitColumns(row);
    this.#fill(row, number, new Set());
    this.#place(row, number);
    // Screen readers go by the order in the document.
    const later = [...this.#rows.keys()].filter((other) => other > number);
    this.#element.insertBefore(row, later.length ? this.#rows.get(Math.min(...later)) : null);
    this.#rows.set(number, row);
  }

  #release(number) {
    const row = this.#rows.get(number);
    this.#rows.delete(number);
    row.remove();
    for (const picture of row.querySelectorAll("img")) this.#pictures.clear(picture);
    this.#spare.push(row);
  }

  #place(row, number) {
    row.style.transform = `translateY(${number * this.#rowPx}px)`;
    row.setAttribute("aria-rowindex", number + 1);
  }

  #fitColumns(row) {
    while (row.children.length > this.#columns) row.lastElementChild.remove();
    while (row.children.length < this.#columns) row.append(makeCell(row.children.length));
  }

  #fill(row, number, drained) {
    for (let column = 0; column < this.#columns; column += 1) {
      const index = number * this.#columns + column;
      const cell = row.children[column];
      cell.hidden = index >= this.#count;
      if (!cell.hidden) this.#fillTile(cell.firstElementChild, index, drained.has(index));
    }
  }

  #fillTile(tile, index, isDraining) {
    const shown = this.#source.describe(index);
    const picture = tile.querySelector("img");
    tile.dataset.index = index;
    tile.classList.toggle("is-sold", shown?.isSold ?? false);
    tile.classList.toggle("is-mine", shown?.isMine ?? false);
    tile.classList.toggle("is-draining", isDraining && !prefersStillness());
    for (const part of ["name", "number", "stamp"]) tile.querySelector(`.tile-${part}`).textContent = shown?.[part] ?? "";
    tile.setAttribute("aria-disabled", shown?.isClosed ?? true);
    if (shown === null) return this.#pictures.clear(picture);
    tile.style.setProperty("--swatch", shown.swatch);
    this.#pictures.show(picture, shown.image);
  }

  #tile(index) {
    return this.#rows.get(Math.floor(index / this.#columns))?.children[index % this.#columns].firstElementChild;
  }

  #markActive() {
    for (const tile of this.#element.querySelectorAll('.tile[tabindex="0"]')) tile.tabIndex = -1;
    const active = this.#tile(this.#active);
    if (active) active.tabIndex = 0;
  }

  #onFocus(event) {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    this.#active = Number(tile.dataset.index);
    this.#markActive();
  }

  #onKey(event) {
    if (event.altKey || event.metaKey) return;
    const step = this.#stepOf(event);
    if (step === null) return;
    event.preventDefault();
    this.focus(Math.min(Math.max(0, step), this.#count - 1));
  }

  /** Where a key leads to. */
  #stepOf({ key, ctrlKey }) {
    const start = this.#active - (this.#active % this.#columns);
    const page = Math.max(1, Math.floor(innerHeight / this.#rowPx) - 1) * this.#columns;
    switch (key) {
      case "ArrowRight":
        return this.#active + 1;
      case "ArrowLeft":
        return this.#active - 1;
      case "ArrowDown":
        return this.#active + this.#columns < this.#count ? this.#active + this.#columns : this.#active;
      case "ArrowUp":
        return this.#active >= this.#columns ? this.#active - this.#columns : this.#active;
      case "PageDown":
        return this.#active + page;
      case "PageUp":
        return this.#active - page;
      case "Home":
        return ctrlKey ? 0 : start;
      case "End":
        return ctrlKey ? this.#count - 1 : start + this.#columns - 1;
      default:
        return null;
    }
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

function makeRow() {
  const row = document.createElement("div");
  row.className = "row";
  row.setAttribute("role", "row");
  return row;
}

function makeCell(column) {
  const cell = document.createElement("div");
  cell.setAttribute("role", "gridcell");
  cell.setAttribute("aria-colindex", column + 1);
  const tile = Object.assign(document.createElement("button"), { className: "tile", type: "button", tabIndex: -1 });
  const frame = Object.assign(document.createElement("span"), { className: "tile-picture" });
  const picture = Object.assign(document.createElement("img"), { alt: "", decoding: "async", width: 400, height: 400 });
  picture.addEventListener("load", () => picture.classList.add("is-there"));
  frame.append(picture);
  // A tile's name for screen readers is what it says, in this order.
  const texts = ["tile-name", "tile-number visually-hidden", "tile-stamp"];
  tile.append(frame, ...texts.map((className) => Object.assign(document.createElement("span"), { className })));
  cell.append(tile);
  return cell;
}
