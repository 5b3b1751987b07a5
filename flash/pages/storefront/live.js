/**
 * Keeps the shop true: by events while they come, by asking every two seconds while they do not.
 *
 * A page that nobody looks at lets go of its connection, because a browser has only six of them for all its windows.
 */

import { flagsOf, Problem } from "./flash-client.js";
import { clock } from "./clock.js";

const POLL_MS = 2_000;
/** How long events may take to say that a sale has opened before we ask. */
const OPENING_GRACE_MS = 1_000;
const HIDDEN_MS = 5_000;

export class Live {
  #client;
  #shop;
  #listening = null;
  #watchedId;
  #isPolling = false;
  #opening = 0;
  #hiding = 0;

  constructor(client, shop) {
    this.#client = client;
    this.#shop = shop;
    shop.addEventListener("shown", () => this.#rewatch());
    shop.addEventListener("change", () => this.#awaitOpening());
    document.addEventListener("visibilitychange", () => this.#onVisibility());
    addEventListener("online", () => this.start());
    addEventListener("offline", () => shop.setConnection("offline"));
  }

  start() {
    this.#listen();
    this.#poll();
  }

  /** Ask for everything once. Throws what the client throws. */
  async refresh() {
    const [page, current] = await Promise.all([this.#client.sales(), this.#currentOrNull()]);
    clock.hear(page.now);
    if (current) this.#shop.takeSale(current);
    const others = page.sales.filter((sale) => sale.id !== current?.id);
    this.#shop.takeSales(current ? [current, ...others] : others, current?.id ?? null);
    const { shown } = this.#shop;
    if (shown && shown.id !== current?.id && !others.some((sale) => sale.id === shown.id)) await this.loadSale(shown.id);
    await this.#refreshItems();
  }

  /** Load a sale that the list does not have, such as one that is sold out. */
  async loadSale(saleId) {
    const sale = await this.#client.sale(saleId);
    this.#shop.takeSale(sale);
    if (sale.status === "sold_out") this.#shop.takeFlags(sale.id, new Uint8Array(sale.stock).fill(1));
  }

  async #refreshItems() {
    const shown = this.#shop.shown;
    if (!shown || shown.status === "upcoming") return;
    if (this.#shop.knowsItems(shown) && this.#shop.soldCount(shown.id) === shown.sold) return;
    const { flags } = await this.#client.soldItems(shown.id);
    this.#shop.takeFlags(shown.id, flags);
  }

  async #currentOrNull() {
    try {
      return await this.#client.currentSale();
    } catch (error) {
      if (error instanceof Problem && error.status === 404) return null;
      throw error;
    }
  }

  #listen() {
    this.#listening?.abort();
    this.#listening = new AbortController();
    this.#watchedId = this.#shop.watchedId;
    const { signal } = this.#listening;
    this.#client.events({
      saleId: this.#watchedId,
      signal,
      onConnected: () => this.#shop.setConnection("live"),
      onLost: () => this.#onLost(),
      onState: (event) => this.#onState(event),
      onItemSold: ({ sale_id, items, remaining }) => this.#shop.takeSold(sale_id, items, remaining),
      onSaleAnnounced: (sale) => this.#shop.takeSale(sale),
      onSaleOpened: (sale) => this.#shop.takeOpened(sale),
      onSoldOut: ({ sale_id }) => this.#shop.takeSoldOut(sale_id),
    });
  }

  #rewatch() {
    if (this.#listening && this.#shop.watchedId !== this.#watchedId) this.#listen();
    this.#refreshItems().catch(() => this.#poll()); // polling will say what is wrong
  }

  #onLost() {
    if (this.#shop.connection === "live") this.#shop.setConnection("polling");
    this.#poll();
  }

  #onState({ now, sales, sale_id, sold }) {
    clock.hear(now);
    const state = sales.find((sale) => sale.id === sale_id);
    this.#shop.takeSales(sales, this.#watchedId === null ? sale_id : (this.#shop.current?.id ?? null));
    if (sold !== undefined) this.#shop.takeFlags(sale_id, flagsOf(sold, state.stock));
    else this.#refreshItems().catch(() => this.#poll());
  }

  /** Ask now, and again and again until events come. */
  async #poll() {
    if (this.#isPolling) return;
    this.#isPolling = true;
    do {
      const isDown = await this.refresh().then(
        () => false,
        () => true,
      );
      if (this.#shop.connection !== "live") this.#shop.setConnection(isDown ? "offline" : "polling");
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    } while (this.#listening && this.#shop.connection !== "live");
    this.#isPolling = false;
  }

  #awaitOpening() {
    clearTimeout(this.#opening);
    const next = this.#shop.next;
    if (!next || !clock.isSet) return;
    const ms = Math.max(0, clock.secondsUntil(next.opens_at) * 1000) + OPENING_GRACE_MS;
    this.#opening = setTimeout(() => this.refresh().catch(() => this.#poll()), Math.min(ms, 2 ** 31 - 1));
  }

  #onVisibility() {
    clearTimeout(this.#hiding);
    if (document.hidden) this.#hiding = setTimeout(() => this.#pause(), HIDDEN_MS);
    else if (!this.#listening) this.start();
  }

  #pause() {
    this.#listening?.abort();
    this.#listening = null;
  }
}
