/** The one place that knows which library draws: lit-html (../vendor/lit-html.vendored.json). */

export { html, nothing, render, svg } from "../vendor/lit-html-3.3.3.b878e7f9.js";

/** Call `draw` once before the next frame, however often it is asked for. */
export function oncePerFrame(draw) {
  let isAsked = false;
  return () => {
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(() => {
      isAsked = false;
      draw();
    });
  };
}

export const prefersStillness = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Tell people who cannot see what has just happened. Politely: what is being read is read to its end. */
export function announce(sentence) {
  const region = document.getElementById("announcer");
  const line = document.createElement("p");
  line.textContent = sentence;
  region.replaceChildren(line);
}
