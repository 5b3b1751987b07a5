/** How many items were sold in each of the last seconds. */

export const SECONDS = 60;

export class Rate {
  #counts = new Map();

  add(count, nowMs) {
    const second = Math.floor(nowMs / 1000);
    this.#counts.set(second, (this.#counts.get(second) ?? 0) + count);
    for (const old of this.#counts.keys()) if (old < second - SECONDS) this.#counts.delete(old);
  }

  clear() {
    this.#counts.clear();
  }

  /** The oldest first. The last is the second that has just ended: the present one would always look like a fall. */
  lastMinute(nowMs) {
    const last = Math.floor(nowMs / 1000) - 1;
    return Array.from({ length: SECONDS }, (_, place) => this.#counts.get(last - SECONDS + 1 + place) ?? 0);
  }
}
