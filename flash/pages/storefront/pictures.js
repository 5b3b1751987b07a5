/**
 * Loads the pictures of tiles. To draw one costs a phone half a frame, so while the page scrolls one is begun in each
 * frame; and none while it scrolls so fast that they would be gone before they had come.
 */

const FAST_PX_PER_MS = 3;
const SETTLE_MS = 90;

export class Pictures {
  #waiting = new Map();
  #isScrolling = false;
  #isFast = false;
  #isAsked = false;
  #settling = 0;
  #last = { top: 0, at: 0 };

  constructor() {
    addEventListener("scroll", () => this.#onScroll(), { passive: true });
  }

  /** Let the image element show `url`, now or soon. */
  show(image, url) {
    if (image.getAttribute("src") === url || this.#waiting.get(image) === url) return;
    this.clear(image);
    if (!this.#isScrolling) {
      image.src = url;
    } else {
      this.#waiting.set(image, url);
      this.#ask();
    }
  }

  clear(image) {
    this.#waiting.delete(image);
    image.classList.remove("is-there");
    image.removeAttribute("src");
  }

  #onScroll() {
    const now = performance.now();
    this.#isScrolling = true;
    this.#isFast = Math.abs(scrollY - this.#last.top) / Math.max(1, now - this.#last.at) > FAST_PX_PER_MS;
    this.#last = { top: scrollY, at: now };
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#settle(), SETTLE_MS);
  }

  #settle() {
    this.#isScrolling = false;
    this.#isFast = false;
    for (const [image, url] of this.#waiting) image.src = url;
    this.#waiting.clear();
  }

  #ask() {
    if (this.#isAsked) return;
    this.#isAsked = true;
    requestAnimationFrame(() => {
      this.#isAsked = false;
      const [next] = this.#waiting;
      if (!next) return;
      if (!this.#isFast) {
        this.#waiting.delete(next[0]);
        next[0].src = next[1];
      }
      this.#ask();
    });
  }
}
