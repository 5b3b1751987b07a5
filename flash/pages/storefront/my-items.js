/** What this browser has bought and checked out, by sale. */

import { html, nothing, render } from "./dom.js";
import { closeIcon } from "./icons.js";
import { clock } from "./clock.js";
import { format, mine as words, sheet as sheetWords, text } from "./strings.js";

export class MyItems {
  #dialog;
  #page;

  /** `page`: `{ wallet, saleOf(id), actions: { open(itemId), changeName } }` */
  constructor(dialog, page) {
    this.#dialog = dialog;
    this.#page = page;
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  show() {
    this.draw(true);
    this.#dialog.showModal();
  }

  hide() {
    this.#dialog.close();
  }

  draw(isOpening = false) {
    if (isOpening || this.#dialog.open) render(this.#whole(), this.#dialog);
  }

  #whole() {
    const { wallet, actions } = this.#page;
    const mine = wallet.purchases.filter((one) => one.buyer === wallet.buyer);
    const tickets = wallet.tickets.filter((one) => one.buyer === wallet.buyer && one.expiresAt > clock.now());
    const sales = [...new Set(mine.map((one) => one.saleId))].sort((one, other) => other - one);
    return html`
      <button class="icon-button sheet-close" type="button" aria-label=${sheetWords.close} @click=${() => this.hide()}>
        ${closeIcon}
      </button>
      <div class="sheet-scroll">
        <div class="sheet-body mine">
          <h2 id="mine-title">${words.title}</h2>
          <p class="muted">
            ${wallet.buyer ? text.you(wallet.buyer) : nothing}
            <button class="text-button" type="button" @click=${actions.changeName}>
              ${wallet.buyer ? words.changeName : text.chooseName}
            </button>
          </p>
          ${tickets.length ? this.#tickets(tickets) : nothing}
          ${mine.length || tickets.length ? nothing : html`<p class="lead">${words.none}</p>`}
          ${sales.map((saleId) => this.#group(saleId, mine))} ${this.#others()}
        </div>
      </div>
    `;
  }

  #tickets(tickets) {
    return html`
      <section>
        <h3>${words.openCode}</h3>
        <ul class="mine-list">
          ${tickets.map((one) => {
            const note = html`${sheetWords.timeLeft} ${format.countdown((one.expiresAt - clock.now()) / 1000)}`;
            return this.#entry(one.itemId, one.name, `/items/${one.itemId}/image.svg`, note);
          })}
        </ul>
      </section>
    `;
  }

  #group(saleId, mine) {
    const bought = mine.filter((one) => one.saleId === saleId);
    const limit = this.#page.saleOf(saleId)?.user_limit;
    return html`
      <section>
        <h3>
          ${words.group(saleId)}
          ${limit ? html`<span class="muted numbers">${words.limitLeft(limit - bought.length, limit)}</span>` : nothing}
        </h3>
        <ul class="mine-list">
          ${bought.map((one) => this.#entry(one.itemId, one.name, one.image, format.dateTime(new Date(one.boughtAt))))}
        </ul>
      </section>
    `;
  }

  #entry(itemId, name, image, note) {
    return html`
      <li>
        <button type="button" @click=${() => this.#page.actions.open(itemId)}>
          <img src=${image} alt="" width="64" height="64" loading="lazy" />
          <span>${name}<span class="muted numbers">${note}</span></span>
        </button>
      </li>
    `;
  }

  /** Other names that this browser has bought under. */
  #others() {
    const { wallet } = this.#page;
    const counts = Map.groupBy(
      wallet.purchases.filter((one) => one.buyer !== wallet.buyer),
      (one) => one.buyer,
    );
    return html`
      ${[...counts].map(([name, bought]) => html`<p class="muted">${words.other(name, bought.length)}</p>`)}
    `;
  }
}
