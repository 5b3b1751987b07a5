/** Loads and draws pictures beside the page, which has better things to do while it scrolls. */

import { drawSvg } from "./svg-canvas.js";
import { parseSvg } from "./svg-parser.js";

const reader = new FileReaderSync();

addEventListener("message", async ({ data: { ticket, url, px } }) => {
  postMessage({ ticket, url: await asPixels(url, px).catch(() => url) });
});

/** A data: URL, because to load one costs a page nothing but its size. */
async function asPixels(url, px) {
  const answer = await fetch(url);
  const canvas = drawSvg(parseSvg(await answer.text()), px);
  const blob = await canvas.convertToBlob({ type: self.fmt ?? "image/png" });
  return reader.readAsDataURL(blob);
}
