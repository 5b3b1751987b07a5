/** One line at the foot of the window: that the connection is gone, that it is back, that another sale has opened. */

import { html, nothing, render } from "./dom.js";
import { text } from "./strings.js";

const PASSING_MS = 6_000;

export class Notice {
  #element;
  #shop;
  #actions;
  /** `"back"`, or the sale that has opened. */
  #news = null;
  #passing = 0;
  #wasAway = false;

  /** `actions`: `{ choose(saleId), tryNow }` */
  constructor(element, shop, actions) {
    this.#element = element;
    this.#shop = shop;
    this.#actions = actions;
    shop.addEventListener("opened", ({ detail }) => this.#tell(detail.sale));
  }

  draw() {
    const { connection, hasLoaded } = this.#shop;
    if (connection === "offline") this.#wasAway = true;
    else if (connection === "live" && this.#wasAway) {
      this.#wasAway = false;
      this.#tell("back");
    }
    render(hasLoaded ? this.#line(connection) : nothing, this.#element);
  }

  #line(connection) {
    if (connection === "offline") return this.#bar(text.offline, button(text.tryNow, this.#actions.tryNow));
    if (connection === "polling") return this.#bar(text.polling);
    if (this.#news === "back") return this.#bar(text.backOnline);
    if (this.#news === null) return nothing;
    const { id } = this.#news;
    const isElsewhere = this.#shop.shown?.id !== id;
    return this.#bar(text.newSale(id), isElsewhere ? button(text.goThere, () => this.#actions.choose(id)) : nothing);
  }

  #bar(words, action = nothing) {
    return html`<div class="notice"><p>${words}</p>${action}</div>`;
  }

  #tell(news) {
    this.#news = news;
    clearTimeout(this.#passing);
    this.#passing = setTimeout(() => {
      this.#news = null;
      this.draw();
    }, PASSING_MS);
  }
}

function button(label, onClick) {
  return html`<button class="text-button" type="button" @click=${onClick}>${label}</button>`;
}
