/** Search, kind, colour and "hide sold": what the visitor is looking for, also in the address, so that it can be sent. */

import { html, nothing, render, svg } from "./dom.js";
import { searchIcon } from "./icons.js";
import { text } from "./strings.js";

const TYPING_MS = 120;

export class Filters extends EventTarget {
  query = "";
  kind = null;
  colour = null;
  hidesSold = false;
  #form;
  #catalog;
  #typing = 0;

  constructor(form, catalog) {
    super();
    this.#form = form;
    this.#catalog = catalog;
    form.setAttribute("aria-label", text.filters);
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  get isOn() {
    return this.query !== "" || this.kind !== null || this.colour !== null || this.hidesSold;
  }

  get asksForNames() {
    return this.query !== "" || this.kind !== null || this.colour !== null;
  }

  /** Take over what the address says. */
  read(parameters) {
    const position = (groups, name) => {
      const found = groups.findIndex((group) => group.name === name);
      return found < 0 ? null : found;
    };
    this.query = parameters.get("q") ?? "";
    this.kind = position(this.#catalog.kinds, parameters.get("kind"));
    this.colour = position(this.#catalog.colours, parameters.get("colour"));
    this.hidesSold = parameters.has("left");
  }

  write(parameters) {
    const entries = {
      q: this.query,
      kind: this.kind === null ? "" : this.#catalog.kinds[this.kind].name,
      colour: this.colour === null ? "" : this.#catalog.colours[this.colour].name,
      left: this.hidesSold ? "1" : "",
    };
    for (const [name, value] of Object.entries(entries)) value ? parameters.set(name, value) : parameters.delete(name);
  }

  set(changes) {
    Object.assign(this, changes);
    this.dispatchEvent(new Event("change"));
  }

  clear() {
    this.#form.elements.q.value = "";
    this.set({ query: "", kind: null, colour: null, hidesSold: false });
  }

  focus() {
    this.#form.elements.q.focus();
  }

  /** `count` of `all` items fit. */
  draw(count, all) {
    render(
      html`
        <div class="filter-line">
          <label class="search">
            <span class="visually-hidden">${text.search}</span>
            ${searchIcon}
            <input name="q" type="search" placeholder=${text.search} autocomplete="off" spellcheck="false"
              enterkeyhint="search" .defaultValue=${this.query} @input=${(event) => this.#onType(event.target.value)} />
          </label>
          ${this.#colours()}
          <label class="toggle">
            <input type="checkbox" .checked=${this.hidesSold}
              @change=${(event) => this.set({ hidesSold: event.target.checked })} />
            <span>${text.hideSold}</span>
          </label>
        </div>
        <div class="filter-line">
          ${this.#kinds()}
          <p class="found numbers">
            ${this.isOn
              ? html`${text.foundOf(count, all)}
                  <button class="text-button" type="button" @click=${() => this.clear()}>${text.clear}</button>`
              : nothing}
          </p>
        </div>
      `,
      this.#form,
    );
  }

  #kinds() {
    const choices = [{ name: text.allKinds, value: null }, ...this.#catalog.kinds.map(({ name }, value) => ({ name, value }))];
    return html`
      <fieldset class="kinds">
        <legend class="visually-hidden">${text.kinds}</legend>
        ${choices.map(
          ({ name, value }) => html`
            <label class="kind">
              <input type="radio" name="kind" .checked=${this.kind === value} @change=${() => this.set({ kind: value })} />
              <span>${name}</span>
            </label>
          `,
        )}
      </fieldset>
    `;
  }

  #colours() {
    return html`
      <fieldset class="colours">
        <legend class="visually-hidden">${text.colours}</legend>
        ${this.#colour(text.anyColour, null, null)}
        ${this.#catalog.colours.map(({ name, swatch }, value) => this.#colour(name, value, swatch))}
      </fieldset>
    `;
  }

  #colour(name, value, swatch) {
    return html`
      <label class="colour" title=${name}>
        <input type="radio" name="colour" .checked=${this.colour === value}
          @change=${() => this.set({ colour: value })} />
        <svg class="swatch" viewBox="0 0 28 28" aria-hidden="true">
          ${swatch === null
            ? svg`<path class="any-colour" d="M8 8l12 12M20 8L8 20" />`
            : svg`<circle cx="14" cy="14" r="11" fill=${swatch} />`}
        </svg>
        <span class="visually-hidden">${name}</span>
      </label>
    `;
  }

  #onType(value) {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.set({ query: value.trim() }), TYPING_MS);
  }
}
