/**
 * Loads the pictures of tiles. To draw one costs a phone most of a frame, so while the page scrolls they are begun one
 * by one, as fast as frames stay in time: the pace falls by half with each late frame and rises slowly again, so it
 * fits the device without knowing it. None is begun while tiles would be gone before their pictures had come.
 */

const FAST_PX_PER_MS = 3;
/** A frame that is longer is late: 60 a second, and what timers deviate. */
const LATE_MS = 20;
/** Pictures for each frame. While the page moves slowly people look at it, and the least is enough to keep up. */
const PACE = { least: 0.25, most: 1, rise: 0.02, standing: 2 };
const SLOW_PX_PER_MS = 0.8;

export class Pictures {
  #motion;
  #waiting = new Map();
  #wanted = new WeakMap();
  #focus = 0;
  #pace = PACE.least;
  #due = 0;
  #frameAt = 0;
  #isAsked = false;

  constructor(motion) {
    this.#motion = motion;
  }

  /** Let the image element show `url`, now or soon; those of tiles near the focus come first. */
  show(image, url, index) {
    if (this.#wanted.get(image) === url) return;
    this.clear(image);
    this.#wanted.set(image, url);
    if (image.getAttribute("src") === url && image.complete) return this.loaded(image);
    if (!this.#motion.isScrolling && !this.#waiting.size) return image.setAttribute("src", url);
    this.#waiting.set(image, index);
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
    if (image.getAttribute("src") === this.#wanted.get(image)) image.classList.add("is-there");
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
    for (; this.#due >= 1 && this.#waiting.size; this.#due -= 1) this.#begin();
  }

  #begin() {
    let [nearest, least] = [null, Infinity];
    for (const [image, index] of this.#waiting) {
      const distance = Math.abs(index - this.#focus);
      if (distance < least) [nearest, least] = [image, distance];
    }
    this.#waiting.delete(nearest);
    nearest.setAttribute("src", this.#wanted.get(nearest));
  }
}
