/**
 * One tile of the grid: made once, then filled again and again with another item. It remembers what it says, because in
 * a page that scrolls even to write the same again costs.
 */

import { prefersStillness } from "./dom.js";

const TEXTS = ["name", "number", "stamp"];

export class Tile {
  #pictures;
  #frame = Object.assign(document.createElement("span"), { className: "tile-picture" });
  #picture = Object.assign(document.createElement("img"), { alt: "", decoding: "async", width: 400, height: 400 });
  #texts = {};
  #said = {};

  constructor(column, pictures) {
    this.#pictures = pictures;
    this.cell = document.createElement("div");
    this.cell.setAttribute("role", "gridcell");
    this.cell.setAttribute("aria-colindex", column + 1);
    this.button = Object.assign(document.createElement("button"), { className: "tile", type: "button", tabIndex: -1 });
    this.#picture.addEventListener("load", () => pictures.loaded(this.#picture));
    this.#frame.append(this.#picture);
    for (const part of TEXTS) this.#texts[part] = document.createElement("span");
    this.#texts.name.className = "tile-name";
    this.#texts.number.className = "tile-number visually-hidden";
    this.#texts.stamp.className = "tile-stamp";
    // A tile's name for screen readers is what it says, in this order.
    this.button.append(this.#frame, ...TEXTS.map((part) => this.#texts[part]));
    this.cell.append(this.button);
  }

  /** Show what `shown` says (grid.js has its form); null while it is unknown. */
  fill(index, shown, isDraining) {
    const classes = ["tile"];
    if (shown?.isSold) classes.push("is-sold");
    if (shown?.isMine) classes.push("is-mine");
    if (isDraining && !prefersStillness()) classes.push("is-draining");
    this.#say("index", index, () => (this.button.dataset.index = index));
    this.#say("classes", classes.join(" "), (value) => (this.button.className = value));
    this.#say("isClosed", shown?.isClosed ?? true, (value) => this.button.setAttribute("aria-disabled", value));
    this.#say("swatch", shown?.swatch ?? "", (value) => this.#frame.style.setProperty("--swatch", value));
    for (const part of TEXTS) this.#say(part, shown?.[part] ?? "", (value) => (this.#texts[part].textContent = value));
    if (shown === null) this.#pictures.clear(this.#picture);
    else this.#pictures.show(this.#picture, shown.image, index);
  }

  /** There is no item for this place any more. */
  empty() {
    this.#pictures.clear(this.#picture);
  }

  #say(what, value, write) {
    if (this.#said[what] === value) return;
    this.#said[what] = value;
    write(value);
  }
}
