/** Reads an SVG as the catalog writes it, where there is no DOMParser: elements with attributes, and text that nobody needs. */

const TAG = /<(\/?)([a-zA-Z]+)((?:\s+[\w:-]+="[^"]*")*)\s*(\/?)>/g;
const ATTRIBUTE = /([\w:-]+)="([^"]*)"/g;

/** The root as `{ name, attributes, children }`. Throws `Error` at text without one. */
export function parseSvg(text) {
  const top = { children: [] };
  const open = [top];
  for (const [, isEnd, name, list, isEmpty] of text.matchAll(TAG)) {
    if (isEnd) {
      open.pop();
      continue;
    }
    const attributes = Object.fromEntries(Array.from(list.matchAll(ATTRIBUTE), ([, key, value]) => [key, value]));
    const node = { name, attributes, children: [] };
    open.at(-1).children.push(node);
    if (!isEmpty) open.push(node);
  }
  const [root] = top.children;
  if (root?.name !== "svg") throw new Error("no picture");
  return root;
}
