/**
 * Draws an item's picture on a canvas, also in a worker, where a browser's own SVG is out of reach. It knows the part of
 * SVG that the catalog writes (flash/catalog/) and throws `Error` at anything else: then the browser itself must draw.
 */

const SIDE = 400;
const ROOT_STYLE = { fill: "#000", stroke: "none", "stroke-width": "1", "stroke-linecap": "butt", "stroke-linejoin": "miter" };
const INHERITED = Object.keys(ROOT_STYLE);
const UNSEEN = ["title", "defs"];
const REFERENCE = /^url\(#(\w+)\)$/;

const SHAPES = {
  path: ({ d }) => new Path2D(d),
  circle: ({ cx, cy, r }) => ellipse(cx, cy, r, r),
  ellipse: ({ cx, cy, rx, ry }) => ellipse(cx, cy, rx, ry),
  rect: ({ x, y, width, height, rx }) => roundRect(x, y, width, height, rx),
};

/** A canvas of `px` times `px` pixels of what svg-parser.js has read. */
export function drawSvg(root, px) {
  const canvas = new OffscreenCanvas(px, px);
  const context = canvas.getContext("2d");
  context.scale(px / SIDE, px / SIDE);
  new Drawing(root).draw(context);
  return canvas;
}

class Drawing {
  #root;
  #defs;

  constructor(root) {
    this.#root = root;
    const defs = root.children.find(({ name }) => name === "defs");
    this.#defs = new Map(defs?.children.map((def) => [def.attributes.id, def]));
  }

  draw(context) {
    for (const node of this.#root.children) if (!UNSEEN.includes(node.name)) this.#node(context, node, ROOT_STYLE);
  }

  #node(context, { name, attributes, children }, inherited) {
    const style = { ...inherited };
    for (const one of INHERITED) if (one in attributes) style[one] = attributes[one];
    context.save();
    if (attributes.transform) transform(context, matrixOf(attributes.transform));
    const opacity = Number(attributes.opacity ?? 1);
    if (name === "g") this.#group(context, children, style, opacity);
    else if (name in SHAPES) this.#shape(context, SHAPES[name](attributes), attributes.d, style, opacity);
    else throw new Error(`not drawn here: ${name}`);
    context.restore();
  }

  #group(context, children, style, opacity) {
    translucent(context, opacity, (on) => {
      for (const child of children) this.#node(on, child, style);
    });
  }

  #shape(context, path, d, style, opacity) {
    if (style.stroke === "none" || style.fill === "none") {
      context.globalAlpha = opacity; // with one coat of paint nothing shines through
      return this.#paint(context, path, d, style);
    }
    translucent(context, opacity, (on) => this.#paint(on, path, d, style));
  }

  #paint(context, path, d, style) {
    if (style.fill !== "none") this.#fill(context, path, d, style.fill);
    if (style.stroke === "none") return;
    context.strokeStyle = style.stroke;
    context.lineWidth = Number(style["stroke-width"]);
    context.lineCap = style["stroke-linecap"];
    context.lineJoin = style["stroke-linejoin"];
    context.stroke(path);
  }

  #fill(context, path, d, fill) {
    const [, id] = REFERENCE.exec(fill) ?? [];
    const def = this.#defs.get(id);
    if (def?.name === "linearGradient") return fillWithGradient(context, path, boxOf(d), def);
    if (id !== undefined && def?.name !== "pattern") throw new Error(`not drawn here: ${fill}`);
    context.fillStyle = id === undefined ? fill : this.#pattern(context, def);
    context.fill(path);
  }

  /** One tile of it, drawn as fine as it will be seen. */
  #pattern(context, { attributes, children }) {
    const width = Number(attributes.width);
    const height = Number(attributes.height);
    const matrix = matrixOf(attributes.patternTransform ?? "");
    const { a, b } = context.getTransform().multiply(matrix);
    const zoom = Math.hypot(a, b);
    const tile = new OffscreenCanvas(Math.max(1, Math.round(width * zoom)), Math.max(1, Math.round(height * zoom)));
    const on = tile.getContext("2d");
    on.scale(tile.width / width, tile.height / height);
    for (const child of children) this.#node(on, child, ROOT_STYLE);
    const pattern = context.createPattern(tile, "repeat");
    pattern.setTransform(matrix.scale(width / tile.width, height / tile.height));
    return pattern;
  }
}

/** The units of the gradient are the box of what it fills, so the path is brought there. */
function fillWithGradient(context, path, box, { attributes, children }) {
  const { x1 = 0, y1 = 0, x2 = 1, y2 = 0, gradientTransform = "" } = attributes;
  const toUser = new DOMMatrix([box.width, 0, 0, box.height, box.x, box.y]).multiply(matrixOf(gradientTransform));
  const inUnits = new Path2D();
  inUnits.addPath(path, toUser.inverse());
  const gradient = context.createLinearGradient(Number(x1), Number(y1), Number(x2), Number(y2));
  for (const { attributes: stop } of children) gradient.addColorStop(Number(stop.offset ?? 0), stop["stop-color"]);
  context.save();
  transform(context, toUser);
  context.fillStyle = gradient;
  context.fill(inUnits);
  context.restore();
}

/** Let `paint` draw, opaquely, what is then seen at `opacity` as a whole. */
function translucent(context, opacity, paint) {
  if (opacity === 1) return paint(context);
  const on = new OffscreenCanvas(context.canvas.width, context.canvas.height).getContext("2d");
  on.setTransform(context.getTransform());
  paint(on);
  context.resetTransform();
  context.globalAlpha = opacity;
  context.drawImage(on.canvas, 0, 0);
}

const boxes = new Map();

/** The box of a path, to a unit: there are few figures, so each is looked at once. */
function boxOf(d) {
  if (!boxes.has(d)) boxes.set(d, look(new Path2D(d)));
  return boxes.get(d);
}

function look(path) {
  const context = new OffscreenCanvas(SIDE, SIDE).getContext("2d", { willReadFrequently: true });
  context.fill(path);
  const { data } = context.getImageData(0, 0, SIDE, SIDE);
  let [left, top, right, bottom] = [SIDE, SIDE, 0, 0];
  for (let place = 0; place < SIDE * SIDE; place += 1) {
    if (data[4 * place + 3] < 128) continue;
    const [x, y] = [place % SIDE, Math.floor(place / SIDE)];
    [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y + 1)];
  }
  return { x: left, y: top, width: right - left, height: bottom - top };
}

function transform(context, { a, b, c, d, e, f }) {
  context.transform(a, b, c, d, e, f);
}

/** What a `transform` attribute says. */
function matrixOf(text) {
  const matrix = new DOMMatrix();
  for (const [, name, list] of text.matchAll(/(\w+)\(([^)]*)\)/g)) {
    const [a, b = 0, c = 0, ...rest] = list.trim().split(/[\s,]+/).map(Number);
    if (name === "translate") matrix.translateSelf(a, b);
    else if (name === "scale") matrix.scaleSelf(a, b || a);
    else if (name === "rotate") matrix.translateSelf(b, c).rotateSelf(a).translateSelf(-b, -c);
    else if (name === "matrix") matrix.multiplySelf(new DOMMatrix([a, b, c, ...rest]));
    else throw new Error(`not drawn here: ${name}`);
  }
  return matrix;
}

function ellipse(cx, cy, rx, ry) {
  const path = new Path2D();
  path.ellipse(Number(cx), Number(cy), Number(rx), Number(ry), 0, 0, 2 * Math.PI);
  return path;
}

function roundRect(x, y, width, height, radius = 0) {
  const path = new Path2D();
  path.roundRect(Number(x), Number(y), Number(width), Number(height), Number(radius));
  return path;
}
