/**
 * One buyer and one item, from looking at it to the receipt. It draws nothing; `sheet.js` shows its step.
 *
 * Steps: offer → checking_out → ticket → buying → receipt, and refused from anywhere. It goes on when its sheet is
 * closed, and when the page is, its ticket is in the wallet and is taken up again.
 */

import { newIdempotencyKey } from "./flash-client.js";
import { clock } from "./clock.js";

export class PurchaseFlow extends EventTarget {
  step = "offer";
  ticket = null;
  purchase = null;
  /** `{ code, detail, isTemporary, buyer }` */
  refusal = null;
  /** While "not now" was the answer: `{ code, until }`, by `performance.now()`. */
  retry = null;
  #client;
  #wallet;
  #codeSeconds;
  #abort = null;
  #isSeen = false;

  /** `item` is `{ id, name, image, saleId }`. */
  constructor(client, wallet, codeSeconds, item) {
    super();
    this.#client = client;
    this.#wallet = wallet;
    this.#codeSeconds = codeSeconds;
    this.item = item;
    this.look();
    if (this.ticket?.isSent) this.buy();
  }

  get isBusy() {
    return this.step === "checking_out" || this.step === "buying";
  }

  get ticketSecondsLeft() {
    return this.ticket ? (this.ticket.expiresAt - clock.now()) / 1000 : 0;
  }

  /** Be where the wallet says we are: perhaps another window has gone on, or the buyer is another one. */
  look() {
    if (this.isBusy) return;
    this.purchase = this.#wallet.purchaseOf(this.item.id);
    this.ticket = this.purchase ? null : this.#wallet.ticketOf(this.item.id);
    if (this.purchase) this.#go("receipt");
    else if (this.step === "refused" && this.refusal.buyer === this.#wallet.buyer) return;
    else if (this.ticket && (this.ticket.isSent || this.ticketSecondsLeft > 0)) this.#go("ticket");
    else this.#go("offer");
  }

  async checkOut() {
    const buyer = this.#wallet.buyer;
    await this.#attempt("checking_out", async (options) => {
      const code = await this.#client.checkout(buyer, this.item.id, options);
      this.ticket = {
        code,
        buyer,
        itemId: this.item.id,
        name: this.item.name,
        saleId: this.item.saleId,
        expiresAt: clock.now() + this.#codeSeconds * 1000,
        idempotencyKey: newIdempotencyKey(),
        isSent: false,
      };
      this.#wallet.keepTicket(this.ticket);
      return "ticket";
    });
  }

  async buy() {
    await this.#attempt("buying", async (options) => {
      const { code, idempotencyKey } = this.ticket;
      this.ticket = { ...this.ticket, isSent: true };
      this.#wallet.keepTicket(this.ticket);
      this.#keep(code, await this.#client.purchase(code, { ...options, idempotencyKey }));
      return "receipt";
    });
  }

  /** Stop asking. What was sent may still be decided: the ticket keeps its key, and asking again is safe. */
  stop() {
    this.#abort?.abort();
  }

  /** The clock or the event stream has news. `isSoldOut`: so is the whole sale. */
  update({ isSold, isSoldOut }) {
    const isNews = this.#isSeen;
    this.#isSeen = true;
    const isOver = this.step === "ticket" && this.ticketSecondsLeft <= 0;
    const isGone = isSold && (this.step === "ticket" || this.step === "offer");
    if (!isOver && !isGone) return;
    // The buyer has stopped waiting for an answer. It may have been a yes, and only the service knows.
    if (this.ticket?.isSent) this.buy();
    else if (!isGone) this.#refuse({ code: "invalid_code" });
    else if (isSoldOut) this.#refuse({ code: "sold_out" });
    else this.#refuse({ code: isNews ? "item_sold" : "sold_before" });
  }

  async #attempt(step, work) {
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.refusal = null;
    this.#go(step);
    const onRetry = ({ seconds, error }) => {
      this.retry = { code: error.code, until: performance.now() + seconds * 1000 };
      this.#changed();
    };
    try {
      this.#go(await work({ signal, onRetry }));
    } catch (error) {
      if (signal.aborted) this.#go(this.ticket ? "ticket" : "offer");
      else if (error.code === undefined) throw error;
      else this.#fail(error);
    }
  }

  #fail(error) {
    const earlier = error.code === "code_already_used" ? error.body.purchase : null;
    if (earlier) {
      this.#keep(this.ticket.code, earlier);
      this.#go("receipt");
    } else {
      this.#refuse(error);
    }
  }

  #keep(code, receipt) {
    this.#wallet.bought(code, receipt);
    this.purchase = this.#wallet.purchaseOf(this.item.id);
  }

  #refuse({ code, detail = "", isTemporary = false }) {
    this.refusal = { code, detail, isTemporary, buyer: this.#wallet.buyer };
    const over = isTemporary ? null : this.ticket;
    if (over) this.ticket = null;
    this.#go("refused");
    if (over) this.#wallet.dropTicket(over.code);
  }

  #go(step) {
    const isOther = step !== this.step;
    this.step = step;
    this.retry = null;
    this.#changed();
    if (isOther) this.dispatchEvent(new Event("step"));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
