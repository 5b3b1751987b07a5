/**
 * What the page knows of the sales: which there are, which one is shown, and which of its items are sold.
 *
 * It asks nobody; `live.js` tells it. Events: `change` for everything, `shown` when another sale is shown, `sold` with
 * the places (from 0) that have just been sold, `opened` and `soldout` with a sale.
 */

import { clock } from "./clock.js";
import { Rate } from "./rate.js";

export class Shop extends EventTarget {
  rate = new Rate();
  /** "connecting", "live", "polling" or "offline" */
  connection = "connecting";
  hasLoaded = false;
  #sales = new Map();
  #flags = new Map();
  #currentId = null;
  #shownId = null;
  #chosenId = null;
  /** The sale that sold out while the visitor looked on: it stays until they go on. */
  #witnessedId = null;

  get current() {
    return this.#sales.get(this.#currentId) ?? null;
  }

  get shown() {
    return this.#sales.get(this.#shownId) ?? null;
  }

  /** The upcoming sale that opens first. */
  get next() {
    return this.#inOrder().findLast((sale) => sale.status === "upcoming") ?? null;
  }

  /** Sales before the current one that still have items, the newest first. */
  get earlier() {
    return this.#inOrder().filter((sale) => sale.status === "open" && sale.id !== this.#currentId);
  }

  get follows() {
    return this.#chosenId === null;
  }

  /** The sale that live updates are wanted of; null: the current one, whichever that is. */
  get watchedId() {
    return this.follows || this.shown?.status === "upcoming" ? null : this.#chosenId;
  }

  saleById(saleId) {
    return this.#sales.get(saleId) ?? null;
  }

  isSold(place) {
    return this.#flags.get(this.#shownId)?.[place] === 1;
  }

  /** Whether it is known which items of the sale are sold. */
  knowsItems(sale) {
    return sale.status !== "open" || this.#flags.has(sale.id);
  }

  soldCount(saleId) {
    return this.#flags.get(saleId)?.reduce((sum, flag) => sum + flag, 0) ?? 0;
  }

  /** Show one sale, or follow the current one (null). The sale must be known. */
  choose(saleId) {
    this.#chosenId = saleId === this.#currentId ? null : saleId;
    this.#witnessedId = this.follows ? this.#currentId : null;
    this.#settle();
  }

  setConnection(connection) {
    if (connection === this.connection) return;
    this.connection = connection;
    this.#changed();
  }

  /** The open sales and the next; those that are not listed any more are sold out or gone. */
  takeSales(sales, currentId) {
    const isFirst = !this.hasLoaded;
    const listed = new Map(sales.map((sale) => [sale.id, sale]));
    for (const [id, sale] of this.#sales) {
      // A sale that had not begun may have been made anew with other items.
      if (listed.has(id) && listed.get(id).first_item_id !== sale.first_item_id) this.#flags.delete(id);
      if (!listed.has(id) && (id === this.#shownId || id === currentId)) listed.set(id, sale);
    }
    this.#sales = listed;
    this.hasLoaded = true;
    this.#setCurrent(currentId, isFirst);
    this.#settle();
  }

  takeSale(sale) {
    const before = this.#sales.get(sale.id);
    if (before && before.first_item_id !== sale.first_item_id) this.#flags.delete(sale.id);
    this.#sales.set(sale.id, sale);
    if (before?.status === "open" && sale.status === "sold_out") this.takeSoldOut(sale.id);
    this.#changed();
  }

  /** Which items of a sale are sold, all at once. */
  takeFlags(saleId, flags) {
    const before = this.#flags.get(saleId);
    this.#flags.set(saleId, flags);
    if (saleId !== this.#shownId) return;
    const places = [];
    for (let place = 0; place < flags.length; place += 1) if (flags[place] !== (before?.[place] ?? 0)) places.push(place);
    this.#tell("sold", { places, isLive: before !== undefined });
  }

  takeSold(saleId, itemIds, remaining) {
    const sale = this.#sales.get(saleId);
    if (!sale) return;
    this.#sales.set(saleId, { ...sale, remaining, sold: sale.stock - remaining });
    if (saleId === this.#shownId) this.rate.add(itemIds.length, clock.now());
    const flags = this.#flags.get(saleId);
    if (flags) {
      const places = itemIds.map((id) => id - sale.first_item_id).filter((place) => flags[place] === 0);
      for (const place of places) flags[place] = 1;
      if (saleId === this.#shownId) this.#tell("sold", { places, isLive: true });
    }
    this.#changed();
  }

  takeSoldOut(saleId) {
    const sale = this.#sales.get(saleId);
    if (!sale) return;
    if (saleId === this.#shownId) this.#witnessedId = saleId;
    this.#sales.set(saleId, { ...sale, status: "sold_out", remaining: 0, sold: sale.stock });
    this.takeFlags(saleId, new Uint8Array(sale.stock).fill(1));
    this.#tell("soldout", { sale });
    this.#changed();
  }

  takeOpened(sale) {
    this.#sales.set(sale.id, sale);
    const isNewer = !this.current || Date.parse(sale.starts_at) > Date.parse(this.current.starts_at);
    if (isNewer) this.#setCurrent(sale.id, false);
    this.#settle();
  }

  #setCurrent(currentId, isFirst) {
    if (currentId === this.#currentId) return;
    this.#currentId = currentId;
    if (this.#chosenId === currentId) this.#chosenId = null;
    const sale = this.current;
    if (sale?.status !== "open" || isFirst) return;
    this.rate.clear();
    this.#tell("opened", { sale });
  }

  /** Decide anew which sale is shown. */
  #settle() {
    const shownId = this.#chosenId ?? this.#followedId();
    const isOther = shownId !== this.#shownId;
    this.#shownId = shownId;
    if (isOther) {
      this.rate.clear();
      this.#tell("shown", {});
    }
    this.#changed();
  }

  #followedId() {
    const current = this.current;
    if (current && (current.status === "open" || current.id === this.#witnessedId)) return current.id;
    return this.next?.id ?? current?.id ?? null;
  }

  #inOrder() {
    return [...this.#sales.values()].sort((one, other) => Date.parse(other.starts_at) - Date.parse(one.starts_at));
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
