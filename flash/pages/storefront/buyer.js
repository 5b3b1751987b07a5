/** Choosing the name under which this browser buys: in the sheet before the first checkout, or from the header. */

import { html, render } from "./dom.js";
import { closeIcon } from "./icons.js";
import { mine as mineWords, sheet as words } from "./strings.js";

const NAME_MAX = 64;

/** The form; `onDone` is called once a name has been kept. */
export function nameForm(wallet, onDone) {
  const save = (event) => {
    event.preventDefault();
    const field = event.target.elements.name;
    const name = field.value.trim();
    const isValid = name.length > 0 && [...name].length <= NAME_MAX;
    field.setCustomValidity(isValid ? "" : words.nameInvalid);
    if (!field.reportValidity()) return;
    wallet.buyer = name;
    onDone();
  };
  return html`
    <form class="name-form" @submit=${save} novalidate>
      <label for="buyer-name">${words.nameLabel}</label>
      <input id="buyer-name" name="name" type="text" autocomplete="nickname" maxlength=${2 * NAME_MAX} spellcheck="false"
        aria-describedby="buyer-hint" .defaultValue=${wallet.buyer}
        @input=${(event) => event.target.setCustomValidity("")} data-primary />
      <p id="buyer-hint" class="muted">${words.nameHint}</p>
      <button class="primary" type="submit">${words.nameSave}</button>
    </form>
  `;
}

/** The small dialog behind the name in the header. */
export class BuyerDialog {
  #dialog;
  #wallet;

  constructor(dialog, wallet) {
    this.#dialog = dialog;
    this.#wallet = wallet;
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  show() {
    const close = () => this.#dialog.close();
    render(
      html`
        <div class="small-dialog">
          <button class="icon-button sheet-close" type="button" aria-label=${words.close} @click=${close}>
            ${closeIcon}
          </button>
          <h2 id="buyer-title">${mineWords.changeName}</h2>
          ${nameForm(this.#wallet, close)}
        </div>
      `,
      this.#dialog,
    );
    this.#dialog.showModal();
    this.#dialog.querySelector("input").select();
  }
}
