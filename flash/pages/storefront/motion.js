/** Whether the page scrolls, and how fast. Tells `settle` a moment after it has stopped. */

const SETTLE_MS = 90;

export class Motion extends EventTarget {
  isScrolling = false;
  pxPerMs = 0;
  #settling = 0;
  #last = { top: 0, at: 0 };

  constructor() {
    super();
    addEventListener("scroll", () => this.#onScroll(), { passive: true });
  }

  #onScroll() {
    const now = performance.now();
    this.isScrolling = true;
    this.pxPerMs = Math.abs(scrollY - this.#last.top) / Math.max(1, now - this.#last.at);
    this.#last = { top: scrollY, at: now };
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#settle(), SETTLE_MS);
  }

  #settle() {
    this.isScrolling = false;
    this.pxPerMs = 0;
    this.dispatchEvent(new Event("settle"));
  }
}
