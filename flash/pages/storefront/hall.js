/** The items of the sale that is shown: the grid, and which of them the visitor's filters leave. */

import { html, nothing, render } from "./dom.js";
import { Grid } from "./grid.js";
import { format, text } from "./strings.js";

/** Names that are loaded before anything is searched: more than any window shows. */
const NAMES_FIRST = 256;
/** As many rows as a browser can make tall. */
const TILES_MAX = 100_000;
const RETRY_MS = 2_000;
/** How long the veil takes to lift (grid.css). */
const OPENING_MS = 700;

export class Hall {
  #shop;
  #catalog;
  #filters;
  #wallet;
  #grid;
  #places = null;
  #positions = null;
  #asked = 0;
  #isVeiled = false;
  #isLoading = false;

  constructor(shop, catalog, filters, wallet, pick) {
    this.#shop = shop;
    this.#catalog = catalog;
    this.#filters = filters;
    this.#wallet = wallet;
    this.elements = Object.fromEntries(["hall", "items", "empty"].map((id) => [id, document.getElementById(id)]));
    this.#grid = new Grid(this.elements.items, {
      describe: (index) => this.#describe(this.#placeAt(index)),
      pick: (index) => shop.shown.status !== "upcoming" && pick(this.itemAt(index)),
    });
  }

  /** From now on show what the shop shows. The catalog must be loaded. */
  open() {
    this.#shop.addEventListener("shown", () => this.show());
    this.#shop.addEventListener("change", () => this.#drawVeil());
    this.#shop.addEventListener("sold", (event) => this.#onSold(event.detail));
    this.#filters.addEventListener("change", () => this.filter());
    this.#wallet.addEventListener("change", () => this.#grid.refresh());
    this.elements.empty.replaceChildren(); // what stood for the tiles that were to come
    this.show();
  }

  /** Another sale is shown. */
  async show() {
    const { shown } = this.#shop;
    this.elements.items.setAttribute("aria-label", shown ? text.grid(shown.id) : "");
    this.#drawVeil();
    if (!shown) return this.#grid.show(0);
    await this.filter();
  }

  /** Show what the filters leave of it. */
  async filter() {
    const { shown } = this.#shop;
    if (!shown) return;
    const ticket = (this.#asked += 1);
    const firstCount = this.#filters.asksForNames ? shown.stock : Math.min(shown.stock, NAMES_FIRST);
    await this.#catalog.loadNames(shown.first_item_id, firstCount);
    if (ticket !== this.#asked) return; // something else has been asked for meanwhile
    this.#choose(shown);
    this.#grid.show(this.#count);
    if (!performance.getEntriesByName("interactive").length) performance.mark("interactive");
    this.#drawFilters();
  }

  /** Put the focus back on an item's tile, if it is here. */
  focus(itemId) {
    const place = itemId - (this.#shop.shown?.first_item_id ?? 0);
    const index = this.#positions === null ? place : (this.#positions.get(place) ?? -1);
    this.#grid.focus(index);
  }

  /** Put the focus on the first tile in view. */
  enter() {
    this.#grid.enter();
  }

  itemAt(index) {
    const { shown } = this.#shop;
    const id = shown.first_item_id + this.#placeAt(index);
    return { id, name: this.#catalog.describe(id).name, image: imageOf(id), saleId: shown.id };
  }

  get #count() {
    const { shown } = this.#shop;
    return Math.min(TILES_MAX, this.#places === null ? shown.stock : this.#places.length);
  }

  /** Names are loaded as they come into view; only a search needs them all. */
  async #loadName(itemId) {
    if (this.#isLoading) return;
    this.#isLoading = true;
    try {
      await this.#catalog.loadNames(itemId, 1);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    this.#isLoading = false;
    this.#grid.refresh(); // and what is in view and still unknown is asked for then
  }

  #choose(shown) {
    const { query, kind, colour, hidesSold, asksForNames, isOn } = this.#filters;
    this.#places = null;
    this.#positions = null;
    if (!isOn) return;
    this.#places = asksForNames
      ? this.#catalog.search(shown.first_item_id, shown.stock, { query, kind, colour })
      : Array.from({ length: shown.stock }, (_, place) => place);
    if (hidesSold) this.#places = this.#places.filter((place) => !this.#shop.isSold(place));
    this.#positions = new Map(this.#places.map((place, index) => [place, index]));
  }

  #placeAt(index) {
    return this.#places === null ? index : this.#places[index];
  }

  #describe(place) {
    const { shown } = this.#shop;
    const id = shown.first_item_id + place;
    const words = this.#catalog.describe(id);
    if (words === null) {
      this.#loadName(id);
      return null;
    }
    const isSold = this.#shop.isSold(place);
    const isMine = this.#wallet.purchaseOf(id) !== null;
    return {
      name: words.name,
      image: imageOf(id),
      swatch: this.#catalog.colours[words.colour].swatch,
      number: text.tileNumber(format.number(id)),
      stamp: isMine ? text.yours : isSold ? text.sold : "",
      isSold,
      isMine,
      isClosed: this.#isVeiled,
    };
  }

  /** Tiles in view drain of their colour where they are; what is hidden once it is sold goes at the next search. */
  #onSold({ places, isLive }) {
    const indexes = this.#positions === null ? places : places.map((place) => this.#positions.get(place));
    if (!isLive && this.#filters.hidesSold) this.filter();
    else this.#grid.refresh(new Set(isLive ? indexes : []));
  }

  /** Before its hour a sale can be seen, but not bought. */
  #drawVeil() {
    const isVeiled = this.#shop.shown?.status === "upcoming";
    if (isVeiled === this.#isVeiled) return;
    this.#isVeiled = isVeiled;
    this.elements.hall.classList.toggle("is-veiled", isVeiled);
    this.#grid.refresh();
    this.elements.hall.classList.toggle("is-opening", !isVeiled);
    setTimeout(() => this.elements.hall.classList.remove("is-opening"), OPENING_MS);
  }

  #drawFilters() {
    const { shown } = this.#shop;
    if (!shown) return;
    const found = this.#places === null ? shown.stock : this.#places.length;
    this.#filters.draw(found, shown.stock);
    this.elements.hall.classList.toggle("is-empty", found === 0);
    render(found ? this.#rest(found) : this.#nothing(), this.elements.empty);
  }

  #rest(found) {
    return found > TILES_MAX ? html`<p class="muted">${text.onlyFirst(TILES_MAX)}</p>` : nothing;
  }

  #nothing() {
    const isForNames = this.#filters.asksForNames;
    return html`
      <div class="message">
        <h2>${isForNames ? text.nothingFound : text.nothingLeft}</h2>
        ${isForNames ? html`<p>${text.nothingFoundHint}</p>` : nothing}
        <button class="secondary" type="button" @click=${() => this.#filters.clear()}>${text.clear}</button>
      </div>
    `;
  }
}

function imageOf(itemId) {
  return `/items/${itemId}/image.svg`;
}
