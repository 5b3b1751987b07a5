/**
 * Turns pictures into pixels of the size in which they are seen. A worker does it, because an SVG costs the page of a
 * phone most of a frame. Where there is no such worker, or it cannot draw a picture, the page gets the SVG itself.
 */

export class Painter {
  #worker = null;
  #asked = new Map();
  #tickets = 0;

  constructor() {
    if (typeof OffscreenCanvas === "undefined") return;
    this.#worker = new Worker(new URL("./picture-worker.js", import.meta.url), { type: "module" });
    this.#worker.addEventListener("message", ({ data }) => this.#onAnswer(data));
    this.#worker.addEventListener("error", () => this.#giveUp());
  }

  /** An address of the picture `px` pixels wide and high; `url` itself if nobody could make it cheaper. Never rejected. */
  async paint(url, px) {
    if (this.#worker === null) return url;
    const ticket = (this.#tickets += 1);
    return new Promise((resolve) => {
      this.#asked.set(ticket, { url, resolve });
      this.#worker.postMessage({ ticket, url: new URL(url, location.href).href, px });
    });
  }

  #onAnswer({ ticket, url }) {
    this.#asked.get(ticket).resolve(url);
    this.#asked.delete(ticket);
  }

  /** The worker does not run at all, such as in a browser without modules in workers. */
  #giveUp() {
    this.#worker = null;
    for (const { url, resolve } of this.#asked.values()) resolve(url);
    this.#asked.clear();
  }
}
