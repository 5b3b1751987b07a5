/**
 * Brings pictures to the image elements of tiles, those near the middle of the view first. While the page scrolls they
 * are begun one by one, as fast as frames stay in time: the pace falls by half with each late frame and rises slowly
 * again, so it fits the device without knowing it. None is begun while tiles would be gone before their pictures had come.
 */

import { Painter } from "./painter.js";

const FAST_PX_PER_MS = 3;
/** A frame that is longer is late: 60 a second, and what timers deviate. */
const LATE_MS = 20;
/** Pictures for each frame. While the page moves slowly people look at it, and the least is enough to keep up. */
const PACE = { least: 0.25, most: 1, rise: 0.02, standing: 2 };
const SLOW_PX_PER_MS = 0.8;
const UNDERWAY_MAX = 8;
/** Finer ones would cost twice as much, and nobody would see it. */
const PIXEL_RATIO_MAX = 2;

export class Pictures {
  #motion;
  #painter = new Painter();
  #px = 1;
  /** By image element: the picture that it is to show, and the one that it has got. */
  #wanted = new WeakMap();
  #given = new WeakMap();
  #waiting = new Map();
  #underway = 0;
  #focus = 0;
  #pace = PACE.least;
  #due = 0;
  #frameAt = 0;
  #isAsked = false;

  constructor(motion) {
    this.#motion = motion;
  }

  /** How large a picture is on the page. Tiles whose pictures were made for another size must be filled again. */
  set sidePx(cssPx) {
    this.#px = Math.ceil(cssPx * Math.min(PIXEL_RATIO_MAX, devicePixelRatio));
  }

  /** Let the image element show the picture at `url`, soon. */
  show(image, url, index) {
    const picture = `${url} ${this.#px}`;
    if (this.#wanted.get(image) === picture) return;
    const isResized = this.#wanted.get(image)?.startsWith(`${url} `);
    if (!isResized) this.clear(image); // what is seen in another size stays until it comes in this one
    this.#wanted.set(image, picture);
    if (this.#given.get(image) === picture && image.complete) return this.loaded(image);
    this.#waiting.set(image, { url, index });
    this.#ask();
  }

  /** What the element has shown stays in it, unseen: to take it out would have it laid out again. */
  clear(image) {
    this.#waiting.delete(image);
    this.#wanted.delete(image);
    image.classList.remove("is-there");
  }

  /** To be called when an image element has loaded: it may be wanted for another picture by now. */
  loaded(image) {
    if (this.#wanted.get(image) === this.#given.get(image)) image.classList.add("is-there");
  }

  /** The index of the tile in the middle of the view. */
  lookAt(index) {
    this.#focus = index;
  }

  #ask() {
    if (this.#isAsked) return;
    this.#isAsked = true;
    requestAnimationFrame((now) => {
      this.#isAsked = false;
      this.#onFrame(now);
      if (this.#waiting.size) this.#ask();
    });
  }

  #onFrame(now) {
    const isLate = now - this.#frameAt > LATE_MS;
    this.#frameAt = now;
    this.#pace = isLate ? this.#pace / 2 : Math.min(PACE.most, this.#pace + PACE.rise);
    const { pxPerMs } = this.#motion;
    if (pxPerMs < SLOW_PX_PER_MS) this.#pace = Math.max(PACE.least, this.#pace);
    if (pxPerMs > FAST_PX_PER_MS) return;
    this.#due = this.#motion.isScrolling ? Math.min(1, this.#due + this.#pace) : PACE.standing;
    for (; this.#due >= 1 && this.#waiting.size && this.#underway < UNDERWAY_MAX; this.#due -= 1) this.#begin();
  }

  async #begin() {
    const image = this.#nearest();
    const { url } = this.#waiting.get(image);
    const picture = this.#wanted.get(image);
    this.#waiting.delete(image);
    this.#underway += 1;
    const source = await this.#painter.paint(url, this.#px);
    this.#underway -= 1;
    if (this.#wanted.get(image) !== picture) return;
    this.#given.set(image, picture);
    image.setAttribute("src", source);
  }

  #nearest() {
    let [nearest, least] = [null, Infinity];
    for (const [image, { index }] of this.#waiting) {
      const distance = Math.abs(index - this.#focus);
      if (distance < least) [nearest, least] = [image, distance];
    }
    return nearest;
  }
}
