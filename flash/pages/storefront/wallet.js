/**
 * What this browser remembers: the buyer's name, what was bought, and codes that have not been used yet.
 *
 * A code is written down before it is used, together with the Idempotency-Key of its purchase. So a page that is closed
 * in the middle of a purchase asks again under the same key when it is opened, and learns what became of it.
 */

const KEYS = { buyer: "flash.buyer", purchases: "flash.purchases", tickets: "flash.tickets" };
const PURCHASES_MAX = 500;

export class Wallet extends EventTarget {
  #memory = new Map();

  constructor() {
    super();
    // Another window of this browser has bought something.
    addEventListener("storage", () => {
      this.#memory.clear();
      this.#changed();
    });
  }

  get buyer() {
    return this.#read(KEYS.buyer, "");
  }

  set buyer(name) {
    this.#write(KEYS.buyer, name);
  }

  /** `{ code, itemId, name, image, saleId, buyer, boughtAt }`, the latest first. */
  get purchases() {
    return this.#read(KEYS.purchases, []);
  }

  /** `{ code, itemId, name, saleId, buyer, expiresAt, idempotencyKey, isSent }` */
  get tickets() {
    return this.#read(KEYS.tickets, []);
  }

  bought(code, receipt) {
    const purchase = {
      code,
      itemId: receipt.item.id,
      name: receipt.item.name,
      image: receipt.item.image,
      saleId: receipt.sale_id,
      buyer: receipt.user_id,
      boughtAt: receipt.purchased_at,
    };
    const others = this.purchases.filter((one) => one.code !== code);
    this.#write(KEYS.purchases, [purchase, ...others].slice(0, PURCHASES_MAX), false);
    this.dropTicket(code);
  }

  forget(code) {
    this.#write(
      KEYS.purchases,
      this.purchases.filter((one) => one.code !== code),
    );
  }

  keepTicket(ticket) {
    this.#write(KEYS.tickets, [...this.tickets.filter((one) => one.code !== ticket.code), ticket]);
  }

  dropTicket(code) {
    this.#write(
      KEYS.tickets,
      this.tickets.filter((one) => one.code !== code),
    );
  }

  purchaseOf(itemId) {
    return this.purchases.find((one) => one.itemId === itemId) ?? null;
  }

  ticketOf(itemId) {
    return this.tickets.find((one) => one.itemId === itemId && one.buyer === this.buyer) ?? null;
  }

  /** How many items of the sale this browser knows its buyer to have. */
  boughtOf(saleId, buyer = this.buyer) {
    return this.purchases.filter((one) => one.saleId === saleId && one.buyer === buyer).length;
  }

  /** Reading the storage for every tile would be slow, so it is read once until somebody else writes. */
  #read(key, otherwise) {
    if (!this.#memory.has(key)) this.#memory.set(key, stored(key) ?? otherwise);
    return this.#memory.get(key);
  }

  #write(key, value, tells = true) {
    this.#memory.set(key, value);
    try {
      localStorage.setItem(key, JSON.stringify(value));
    } catch {
      // Full, or forbidden: it is remembered until the page is closed.
    }
    if (tells) this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

function stored(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null; // forbidden, or somebody else wrote into it
  }
}
