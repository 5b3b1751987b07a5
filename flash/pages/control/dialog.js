/** Pausing and resuming a sale: who does it and why is asked for, and for a pause the sale's number is typed. */

import { pauseSale, Refused, resumeSale } from "./api.js";
import { announce, byId, html, nothing, render } from "./dom.js";
import { memory } from "./memory.js";
import { dialog as text } from "./strings.js";

/** `onDone()` is called when the service has said that it is done. */
export function openPause(sale, onDone) {
  open({
    sale,
    title: text.pauseTitle(sale.id),
    lead: text.pauseText,
    asksNumber: true,
    button: text.pause(sale.id),
    ask: pauseSale,
    done: text.paused(sale.id),
    onDone,
  });
}

export function openResume(sale, onDone) {
  open({
    sale,
    title: text.resumeTitle(sale.id),
    lead: text.resumeText,
    asksNumber: false,
    button: text.resume(sale.id),
    ask: resumeSale,
    done: text.resumed(sale.id),
    onDone,
  });
}

function open(task) {
  const element = byId("dialog");
  const view = { ...task, errors: {}, failure: "", isAsking: false };
  const draw = () =>
    render(
      form(
        view,
        (event) => submit(event, view, element, draw),
        () => element.close(),
      ),
      element,
    );
  render(nothing, element); // what was typed for another sale is not kept
  draw();
  element.showModal();
  element.querySelector("input").focus();
}

async function submit(event, view, element, draw) {
  event.preventDefault();
  if (view.isAsking) return;
  const values = Object.fromEntries(new FormData(event.target));
  view.errors = mistakes(view, values);
  view.failure = "";
  draw();
  if (Object.keys(view.errors).length) {
    element.querySelector("[aria-invalid='true']").focus();
    return;
  }
  view.isAsking = true;
  draw();
  try {
    memory.who = values.who.trim();
    await view.ask(view.sale.id, values.who.trim(), values.reason.trim());
    element.close();
    announce(view.done);
    view.onDone();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const isUnknown = error.status === 0 || error.code === "outcome_unknown";
    view.failure = text.failed(isUnknown ? text.unknown : error.message);
  } finally {
    view.isAsking = false;
    draw();
  }
}

function mistakes({ sale, asksNumber }, values) {
  const errors = {};
  if (asksNumber && values.number.trim() !== String(sale.id)) errors.number = text.numberWrong(sale.id);
  for (const name of ["who", "reason"]) if (!values[name].trim()) errors[name] = text.missing;
  return errors;
}

const form = (view, onSubmit, onCancel) => html`
  <form novalidate @submit=${onSubmit} autocomplete="off">
    <h2 id="dialog-title">${view.title}</h2>
    <p class="lead">${view.lead}</p>
    ${view.asksNumber ? field(view, "number", text.number(view.sale.id), { inputmode: "numeric" }) : nothing}
    ${field(view, "who", text.who, { value: memory.who, maxlength: 64 })}
    ${field(view, "reason", text.reason, { maxlength: 500, hint: text.reasonHint })}
    <p class="failure" role="alert">${view.failure}</p>
    <div class="buttons">
      <button type="button" class="button" @click=${onCancel}>${text.cancel}</button>
      <button type="submit" class="button primary" aria-disabled=${view.isAsking}>
        ${view.isAsking ? text.working : view.button}
      </button>
    </div>
  </form>
`;

function field({ errors }, name, label, { value = "", hint = "", maxlength = 19, inputmode = "text" }) {
  const error = errors[name];
  return html`
    <div class="field">
      <label for="dialog-${name}">${label}</label>
      <input
        id="dialog-${name}"
        name=${name}
        value=${value}
        maxlength=${maxlength}
        inputmode=${inputmode}
        required
        aria-invalid=${error ? "true" : "false"}
        aria-describedby="dialog-${name}-note"
      />
      <p id="dialog-${name}-note" class=${error ? "mistake" : "hint"}>${error ?? hint}</p>
    </div>
  `;
}
