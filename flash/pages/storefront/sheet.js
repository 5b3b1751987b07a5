/** The sheet of one item: picture, name, and the one thing that can be done next. */

import { html, nothing, render } from "./dom.js";
import { nameForm } from "./buyer.js";
import { closeIcon } from "./icons.js";
import { format, refusals, sheet as words, waiting } from "./strings.js";

export class Sheet {
  #dialog;
  #page;
  #flow = null;
  #isCopied = false;

  /**
   * `page`: `{ wallet, saleOf(id), nextInSeconds(), kindOf(itemId), actions }`, with the actions `close`, `similar`,
   * `showMine`.
   */
  constructor(dialog, page) {
    this.#dialog = dialog;
    this.#page = page;
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) page.actions.close(); // beside the sheet
    });
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      page.actions.close();
    });
  }

  get flow() {
    return this.#flow;
  }

  show(flow) {
    this.#flow = flow;
    this.#isCopied = false;
    this.draw();
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#dialog.querySelector(".sheet-scroll").scrollTop = 0;
    this.focusAction();
  }

  hide() {
    this.#dialog.close();
    this.#flow = null;
  }

  /** Put the focus on what can be done now, unless it is somewhere sensible already. */
  focusAction() {
    const action = this.#dialog.querySelector("[data-primary]:not([disabled])") ?? this.#dialog.querySelector("h2");
    action.focus({ preventScroll: true });
  }

  draw() {
    if (this.#flow) render(this.#whole(this.#flow), this.#dialog);
  }

  #whole(flow) {
    const { item } = flow;
    return html`
      <button class="icon-button sheet-close" type="button" aria-label=${words.close} @click=${this.#page.actions.close}>
        ${closeIcon}
      </button>
      <div class="sheet-scroll">
        <img class="sheet-picture ${pictureState(flow)}" src=${item.image} alt=""
          width="400" height="400" />
        <div class="sheet-body">
          <h2 id="sheet-title" tabindex="-1">${item.name}</h2>
          <p class="muted numbers">${words.of(format.number(item.id), item.saleId)}</p>
          ${this.#step(flow)}
        </div>
      </div>
    `;
  }

  #step(flow) {
    switch (flow.step) {
      case "receipt":
        return this.#receipt(flow);
      case "refused":
        return this.#refused(flow);
      case "ticket":
      case "buying":
        return this.#ticket(flow);
      default:
        return this.#offer(flow);
    }
  }

  #offer(flow) {
    const { wallet } = this.#page;
    if (!wallet.buyer) return nameForm(wallet, () => this.#onNamed());
    const limit = this.#page.saleOf(flow.item.saleId)?.user_limit ?? 10;
    const left = limit - wallet.boughtOf(flow.item.saleId);
    if (left <= 0) {
      return html`
        <p class="lead">${words.limitReached(limit)}</p>
        ${actions(secondary(words.seeMine, this.#page.actions.showMine, true))}
      `;
    }
    return html`
      <p class="muted numbers">${words.limit(left, limit, wallet.buyer)}</p>
      ${this.#waiting(flow)}
      ${actions(primary(flow.step === "checking_out" ? words.checkingOut : words.checkOut, () => flow.checkOut(), flow.isBusy))}
    `;
  }

  #onNamed() {
    this.draw();
    this.focusAction();
  }

  #ticket(flow) {
    const { ticket } = flow;
    return html`
      <section class="ticket" aria-label=${words.ticket}>
        <div class="ticket-head">
          <p>${words.ticketFor(ticket.buyer)}</p>
          <p class="ticket-time numbers">
            <span class="muted">${words.timeLeft}</span> <strong>${format.countdown(flow.ticketSecondsLeft)}</strong>
          </p>
        </div>
        <p class="code" translate="no">${ticket.code}</p>
        <button class="text-button" type="button" @click=${() => this.#copy(ticket.code)}>
          ${this.#isCopied ? words.copied : words.copy}
        </button>
      </section>
      ${this.#waiting(flow) ?? html`<p class="muted">${words.ticketNote}</p>`}
      ${actions(primary(flow.isBusy ? words.buying : words.buy, () => flow.buy(), flow.isBusy))}
    `;
  }

  #receipt({ purchase, item }) {
    const rows = [
      [words.receiptItem, item.name],
      [words.receiptNumber, format.number(purchase.itemId)],
      [words.receiptSale, format.number(purchase.saleId)],
      [words.receiptBuyer, purchase.buyer],
      [words.receiptTime, format.dateTime(new Date(purchase.boughtAt))],
    ];
    return html`
      <p class="lead success">${words.bought}</p>
      <div class="printer">
        <section class="receipt" aria-label=${words.receipt}>
          <dl>
            ${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
          </dl>
          <p class="code" translate="no">${purchase.code}</p>
        </section>
      </div>
      ${actions(primary(words.keepLooking, this.#page.actions.close), secondary(words.seeMine, this.#page.actions.showMine))}
    `;
  }

  #refused(flow) {
    const { title, reason } = this.wordsOf(flow);
    return html`
      <div class="refusal">
        <p class="lead">${title}</p>
        <p>${reason}</p>
      </div>
      ${actions(this.#wayOut(flow))}
    `;
  }

  /** What the refusal of `flow` means, in the buyer's words. */
  wordsOf({ refusal, item }) {
    const { title, text: reason } = refusals[refusal.code] ?? refusals.other;
    const limit = this.#page.saleOf(item.saleId)?.user_limit ?? 10;
    const context = { detail: refusal.detail, limit, nextInSeconds: this.#page.nextInSeconds() };
    return { title, reason: reason(context) };
  }

  #wayOut(flow) {
    const { actions } = this.#page;
    const { code, isTemporary } = flow.refusal;
    if (isTemporary) return primary(words.retryNow, () => (flow.ticket ? flow.buy() : flow.checkOut()));
    if (code === "invalid_code" || code === "idempotency_key_reused") {
      return primary(words.again, () => flow.checkOut());
    }
    if (code === "user_limit_reached") return primary(words.seeMine, actions.showMine);
    if (code === "item_sold" || code === "sold_before") {
      const kind = this.#page.kindOf(flow.item.id);
      return html`
        ${kind === null ? nothing : primary(words.similar(kind), () => actions.similar(flow.item.id))}
        ${secondary(words.keepLooking, actions.close)}
      `;
    }
    return primary(words.keepLooking, actions.close);
  }

  #waiting(flow) {
    const { retry } = flow;
    if (!retry) return null;
    const seconds = Math.max(1, Math.ceil((retry.until - performance.now()) / 1000));
    return html`
      <div class="waiting">
        <p class="numbers">${(waiting[retry.code] ?? waiting.other)(format.duration(seconds))}</p>
        <p class="muted">${waiting.sameRequest}</p>
        <button class="text-button" type="button" @click=${() => flow.stop()}>${words.stop}</button>
      </div>
    `;
  }

  async #copy(code) {
    try {
      await navigator.clipboard.writeText(code);
    } catch {
      // Not allowed outside of HTTPS: select it instead, so that the visitor can.
      getSelection().selectAllChildren(this.#dialog.querySelector(".code"));
      return;
    }
    this.#isCopied = true;
    this.draw();
  }
}

/** It drains of colour with its item, and makes room for the receipt. */
function pictureState({ step, refusal }) {
  if (step === "receipt") return "is-small";
  const isGone = step === "refused" && ["item_sold", "sold_before", "sold_out"].includes(refusal.code);
  return isGone ? "is-drained" : "";
}

/** What can be done now stays in view, however long what is above it. */
function actions(...buttons) {
  return html`<div class="sheet-actions">${buttons}</div>`;
}

function primary(label, onClick, isBusy = false) {
  return html`
    <button class="primary" type="button" data-primary aria-disabled=${isBusy ? "true" : "false"}
      @click=${isBusy ? null : onClick}>${label}</button>
  `;
}

function secondary(label, onClick, isOnly = false) {
  return html`<button class="secondary" type="button" ?data-primary=${isOnly} @click=${onClick}>${label}</button>`;
}
