/** The one place that knows which library draws charts: uPlot (../vendor/uplot.vendored.json). */

import { format } from "./strings.js";

const uPlot = globalThis.uPlot;
const SYNC = "control";
const AXIS_WIDTH = 52;
const TIME_HEIGHT = 24;

const colours = new Map();

/** The value of a custom property of the theme. Charts are painted, so style sheets do not reach them. */
function colour(name) {
  if (!colours.has(name)) {
    colours.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  }
  return colours.get(name);
}

export function forgetColours() {
  colours.clear();
}

export const line = (name, width = 2) => ({ stroke: () => colour(name), width, points: { show: false } });
export const area = (name) => ({ fill: () => colour(name), width: 0, points: { show: false } });

/** From zero, because amounts are compared by their height. */
export const amounts = { range: (_, __, most) => [0, Math.max(5, (most ?? 0) * 1.08)] };

export const latencies = {
  distr: 3,
  range: (_, least, most) => [
    10 ** Math.floor(Math.log10(least || 1)),
    10 ** Math.ceil(Math.log10((most || 10) * 1.01)),
  ],
};

/** The powers of ten alone: the lines between them would be most of the picture. */
const powersOfTen = (_, __, least, most) => {
  const powers = [];
  for (let power = Math.round(Math.log10(least)); power <= Math.log10(most) + 1e-9; power++) powers.push(10 ** power);
  return powers;
};

function verticalAxis(scale) {
  const grid = { stroke: () => colour("--chart-grid"), width: 1 };
  return {
    size: AXIS_WIDTH,
    stroke: () => colour("--ink-soft"),
    font: "12px system-ui, sans-serif",
    gap: 6,
    space: 34,
    grid,
    ticks: { show: false },
    ...(scale.distr === 3 ? { splits: powersOfTen, filter: (_, splits) => splits } : {}),
    values: (_, splits) => splits.map((value) => (value === null ? "" : format.rate(value))),
  };
}

/** A label at either end would be cut off, or stand in that of the other axis. */
const hasRoom = ({ min, max }, seconds) => seconds - min > 0.04 * (max - min) && max - seconds > 0.04 * (max - min);

const timeLabel = (seconds) => format.time(new Date(seconds * 1e3)).replace(/:00$/, "");

function timeAxis(isLabelled) {
  return {
    size: isLabelled ? TIME_HEIGHT : 4,
    stroke: () => colour("--ink-soft"),
    font: "12px system-ui, sans-serif",
    gap: 4,
    space: 84,
    grid: { stroke: () => colour("--chart-grid"), width: 1 },
    ticks: { show: false },
    values: (plot, splits) =>
      splits.map((seconds) => (isLabelled && hasRoom(plot.scales.x, seconds) ? timeLabel(seconds) : "")),
  };
}

/** Lines across the plot where something happened, with a flag at the top that has the mark's colour. */
function drawMarks(plot, marks) {
  const { left, top, width, height } = plot.bbox;
  const { ctx } = plot;
  ctx.save();
  for (const { seconds, tone } of marks) {
    const x = Math.round(plot.valToPos(seconds, "x", true)) + 0.5;
    if (x < left || x > left + width) continue;
    ctx.strokeStyle = ctx.fillStyle = colour(`--mark-${tone}`);
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
    const size = 5 * devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(x - size, top);
    ctx.lineTo(x + size, top);
    ctx.lineTo(x, top + 1.6 * size);
    ctx.fill();
  }
  ctx.restore();
}

/**
 * A chart in `holder` that fills it. `marks()` are what is drawn over it, `onPoint(index)` hears where the cursor is,
 * which is the same on all charts; null if it is nowhere.
 */
export function makePlot(holder, { series, scale, isLast, marks, onPoint }) {
  const size = () => ({ width: Math.max(120, holder.clientWidth), height: Math.max(60, holder.clientHeight) });
  const plot = new uPlot(
    {
      ...size(),
      padding: [14, 2, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false },
        points: { show: false },
        sync: { key: SYNC, setSeries: false, scales: ["x", null] },
      },
      scales: { x: { time: true }, y: scale },
      axes: [timeAxis(isLast), verticalAxis(scale)],
      series: [{}, ...series],
      hooks: {
        draw: [(drawn) => drawMarks(drawn, marks())],
        setCursor: [(drawn) => onPoint(drawn.cursor.idx ?? null)],
      },
    },
    [[], ...series.map(() => [])],
    holder,
  );
  new ResizeObserver(() => plot.setSize(size())).observe(holder);
  return plot;
}

/** Put the cursor on a point of all of `plots`, or nowhere. */
export function pointAt(plots, seconds) {
  for (const plot of plots) {
    const left = seconds === null ? -10 : plot.valToPos(seconds, "x");
    plot.setCursor({ left, top: seconds === null ? -10 : 10 });
  }
}
