/** The top of the page: which sale, how much is left, when the next one opens, how fast it sells. */

import { html, nothing, render, svg } from "./dom.js";
import { boltIcon } from "./icons.js";
import { clock } from "./clock.js";
import { Odometer } from "./odometer.js";
import { format, text } from "./strings.js";

const FINAL_SECONDS = 60;
/** From here on a countdown has hours, too many figures for a phone's width. */
const HOUR_SECONDS = 3_600;

export class Status {
  #shop;
  #page;
  #left = new Odometer();

  /** `page`: `{ wallet, actions: { choose(saleId), showMine, changeName, tryNow } }` */
  constructor(shop, page) {
    this.#shop = shop;
    this.#page = page;
    this.elements = Object.fromEntries(
      ["top", "status"].map((id) => [id, document.getElementById(id)]),
    );
    // Once the large numbers have left the view, the small ones in the header appear.
    new IntersectionObserver(([entry]) => {
      document.body.classList.toggle("is-scrolled", !entry.isIntersecting);
    }).observe(this.elements.status);
  }

  draw() {
    render(this.#top(), this.elements.top);
    render(this.#shop.hasLoaded ? this.#numbers() : this.#notLoaded(), this.elements.status);
    document.body.dataset.connection = this.#shop.connection;
    const sale = this.#shop.shown;
    document.title = text.title(sale && sale.status !== "upcoming" ? sale.remaining : null, sale?.id);
  }

  /** Seconds until the next sale; null if none is known. */
  nextInSeconds() {
    const { next } = this.#shop;
    return next === null ? null : clock.secondsUntil(next.opens_at);
  }

  #top() {
    const { wallet, actions } = this.#page;
    const sale = this.#shop.shown;
    const count = wallet.purchases.filter((one) => one.buyer === wallet.buyer).length;
    return html`
      <a class="wordmark" href="/" aria-label="flash">${boltIcon}<span>flash</span></a>
      ${sale ? this.#compact(sale) : nothing}
      <div class="top-actions">
        <a class="plain-button api" href="/docs">${text.api}</a>
        <button class="plain-button" type="button" @click=${actions.showMine}>
          ${text.mine} ${count ? html`<span class="count numbers">${count}</span>` : nothing}
        </button>
        <button class="plain-button buyer-name" type="button" @click=${actions.changeName}>
          ${wallet.buyer ? text.you(wallet.buyer) : text.chooseName}
        </button>
      </div>
    `;
  }

  #compact(sale) {
    const seconds = this.nextInSeconds();
    return html`
      <p class="compact numbers" aria-hidden="true">
        ${sale.status === "upcoming" ? nothing : html`<strong>${text.compactLeft(sale.remaining)}</strong>`}
        ${seconds === null ? nothing : html`<span>${text.compactNext(format.countdown(seconds))}</span>`}
      </p>
    `;
  }

  #numbers() {
    const sale = this.#shop.shown;
    if (sale === null) return this.#empty();
    return html`
      <div class="sale-line">
        <h1>${text.saleName(sale.id)}</h1>
        <p class="muted numbers">${sale.status === "upcoming"
          ? text.opensAt(new Date(sale.opens_at))
          : text.opened(new Date(sale.opens_at))}</p>
        ${this.#ways()}
      </div>
      ${sale.status === "upcoming" ? this.#veil(sale) : this.#figures(sale)}
    `;
  }

  #empty() {
    return html`
      <div class="message">
        <h1>${text.noSaleTitle}</h1>
        <p>${text.noSaleText}</p>
      </div>
    `;
  }

  #veil(sale) {
    const seconds = clock.secondsUntil(sale.opens_at);
    return html`
      <div class="opening">
        <p class="muted">${text.veilTitle(sale.id)}</p>
        <p class="display numbers ${seconds <= FINAL_SECONDS ? "is-final" : ""}" role="timer">${format.countdown(seconds)}</p>
        <p>${text.veilNote(sale.stock)}</p>
      </div>
    `;
  }

  #figures(sale) {
    const seconds = this.nextInSeconds();
    const isSoldOut = sale.remaining === 0;
    this.#left.set(format.number(sale.remaining));
    return html`
      <div class="figures numbers">
        <div class="figure figure-left">
          <p class="big ${isSoldOut ? "is-words" : ""}">
            ${isSoldOut
              ? text.soldOut
              : html`${this.#left.element}<span class="visually-hidden">${text.leftLabel(sale.remaining, sale.stock)}</span>`}
          </p>
          <p class="muted" aria-hidden=${isSoldOut ? "false" : "true"}>
            ${isSoldOut ? text.allSold(sale.stock) : text.left(sale.stock)}
          </p>
        </div>
        ${seconds === null
          ? nothing
          : html`
              <div class="figure">
                <p class="medium ${seconds <= FINAL_SECONDS ? "is-final" : seconds >= HOUR_SECONDS ? "is-long" : ""}" role="timer"
                  aria-label=${text.nextSaleLabel(format.duration(seconds))}>${format.countdown(seconds)}</p>
                <p class="muted">${text.nextSaleIn}</p>
              </div>
            `}
        ${this.#rate()}
      </div>
      <div class="progress" aria-hidden="true">${this.#bar(sale.remaining / sale.stock)}</div>
    `;
  }

  #bar(share) {
    return html`<svg viewBox="0 0 1000 4" preserveAspectRatio="none"><path d="M0 0h${1000 * share}v4H0z" /></svg>`;
  }

  #rate() {
    const counts = this.#shop.rate.lastMinute(clock.now());
    const now = counts[counts.length - 1];
    const most = Math.max(...counts);
    return html`
      <div class="figure figure-rate">
        <div class="rate-line">
          <p class="medium" aria-hidden="true">${format.number(now)}</p>
          ${sparkline(counts, text.perSecondLabel(now, most))}
        </div>
        <p class="muted" aria-hidden="true">${text.perSecond}</p>
      </div>
    `;
  }

  /** Where else one can go: back to the current sale, on to the next, and to earlier ones that still have items. */
  #ways() {
    const { current, earlier, next, shown } = this.#shop;
    const link = (sale, words) => html`
      <a href=${`/?sale=${sale.id}`} @click=${(event) => {
        event.preventDefault();
        this.#page.actions.choose(sale.id);
      }}>${words}</a>
    `;
    const others = earlier.filter((sale) => sale.id !== shown.id).slice(0, 4);
    return html`
      <nav class="ways numbers" aria-label=${text.earlier}>
        ${current && current.id !== shown.id ? link(current, text.toCurrent(current.id)) : nothing}
        ${next && shown.status === "sold_out" ? link(next, text.toNext(next.id)) : nothing}
        ${others.length
          ? html`<span>${text.earlier} ${others.map((sale) => link(sale, text.earlierSale(sale.id, sale.remaining)))}</span>`
          : nothing}
      </nav>
    `;
  }

  #notLoaded() {
    if (this.#shop.connection !== "offline") return html`<p class="visually-hidden">${text.loading}</p>`;
    return html`
      <div class="message">
        <h1>${text.failedTitle}</h1>
        <p>${text.failedText}</p>
        <button class="primary" type="button" @click=${this.#page.actions.tryNow}>${text.tryNow}</button>
      </div>
    `;
  }
}

/** One bar a second; the latest stands out. An empty second is a line, so that the axis is seen. */
function sparkline(counts, label) {
  const most = Math.max(...counts, 1);
  const bars = counts.map((count, place) => {
    const height = Math.max(1, (30 * count) / most);
    return `M${place * 4} ${32 - height}h3v${height}h-3z`;
  });
  const last = bars.pop();
  return html`
    <svg class="sparkline" viewBox="0 0 240 32" preserveAspectRatio="none" role="img" aria-label=${label}>
      ${svg`<path d=${bars.join("")} /><path class="is-latest" d=${last} />`}
    </svg>
  `;
}
