/** The token is exchanged for a cookie here, and forgotten. */

import { logIn, Refused } from "./api.js";
import { html, render } from "./dom.js";
import { memory } from "./memory.js";
import { login as text } from "./strings.js";

/** Ask for the token. `note` says why, if that is not plain. `onEntered()` is called once it was right. */
export function showLogin(root, note, onEntered) {
  const view = { note, isAsking: false };
  const draw = () =>
    render(
      form(view, (event) => submit(event, view, draw, onEntered)),
      root,
    );
  draw();
  root.querySelector(memory.who ? "#token" : "#who").focus();
}

async function submit(event, view, draw, onEntered) {
  event.preventDefault();
  if (view.isAsking) return;
  const { who, token } = Object.fromEntries(new FormData(event.target));
  memory.who = who.trim();
  Object.assign(view, { note: "", isAsking: true });
  draw();
  try {
    await logIn(token.trim());
    memory.isLoggedIn = true;
    event.target.reset();
    onEntered();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    view.note = noteOf(error);
  } finally {
    view.isAsking = false;
    draw();
  }
}

function noteOf(error) {
  if (error.status === 401) return text.wrong;
  if (error.status === 429) return text.slow(error.retrySeconds || 2);
  return text.unreachable;
}

const form = (view, onSubmit) => html`
  <form class="login" @submit=${onSubmit}>
    <h1>${text.title}</h1>
    <p class="lead">${text.lead}</p>
    <div class="field">
      <label for="who">${text.who}</label>
      <input
        id="who"
        name="who"
        value=${memory.who}
        maxlength="64"
        required
        autocomplete="name"
        aria-describedby="who-hint"
      />
      <p id="who-hint" class="hint">${text.whoHint}</p>
    </div>
    <div class="field">
      <label for="token">${text.token}</label>
      <input
        id="token"
        name="token"
        type="password"
        required
        autocomplete="current-password"
        aria-describedby="token-note"
      />
      <p id="token-note" class="mistake" role="alert">${view.note}</p>
    </div>
    <button type="submit" class="button primary" aria-disabled=${view.isAsking}>
      ${view.isAsking ? text.entering : text.enter}
    </button>
  </form>
`;
