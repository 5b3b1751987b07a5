/** The one place that knows which library draws what is not a chart: lit-html (../vendor/lit-html.vendored.json). */

export { html, nothing, render, svg } from "../vendor/lit-html-3.3.3.b878e7f9.js";

export const byId = (id) => document.getElementById(id);

/** Tell people who cannot see it. Politely: what is being read is read to its end. */
export function announce(sentence) {
  const line = document.createElement("p");
  line.textContent = sentence;
  byId("announcer").replaceChildren(line);
}
