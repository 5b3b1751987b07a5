/** The last five minutes: three charts over one time axis, what they say at the cursor, and a slider for the keyboard. */

import { announce, html, nothing, render } from "./dom.js";
import { GROUPS, grouped, stacked } from "./outcomes.js";
import { amounts, area, forgetColours, latencies, line, makePlot, pointAt } from "./plot.js";
import { charts as text, format, outcomeGroups } from "./strings.js";

const STEP = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -15, PageUp: 15 };
/** The latest second may lack a latency because nobody bought in it. */
const LATELY = 3;

export class Charts {
  constructor(root) {
    render(skeleton(), root);
    const holder = (name) => root.querySelector(`[data-plot="${name}"]`);
    this.readouts = Object.fromEntries([...root.querySelectorAll("[data-readout]")].map((n) => [n.dataset.readout, n]));
    this.scrub = root.querySelector(".scrub");
    this.scrubText = root.querySelector(".scrub-text");
    this.marks = [];
    this.point = null;
    this.series = null;
    this.asked = false;
    const common = { marks: () => this.marks, onPoint: (index) => this.pointTo(index) };
    this.plots = [
      makePlot(holder("sales"), {
        ...common,
        scale: amounts,
        series: [{ ...line("--chart-sold"), fill: fillOf("--chart-sold-low") }],
      }),
      makePlot(holder("latency"), { ...common, scale: latencies, series: [line("--chart-p50"), line("--chart-p99")] }),
      makePlot(holder("attempts"), {
        ...common,
        scale: amounts,
        isLast: true,
        series: [...GROUPS].reverse().map((group) => area(`--outcome-${group}`)),
      }),
    ];
    this.scrub.addEventListener("keydown", (event) => this.onKey(event));
    this.scrub.addEventListener("blur", () => pointAt(this.plots, null));
  }

  /** `marks` are `{seconds, tone, text}`. */
  update(series, marks) {
    const from = Date.parse(series.from) / 1e3;
    const times = series.sales.map((_, index) => from + index * series.step_seconds);
    const groups = grouped(series.outcomes, times.length);
    this.series = { ...series, times, groups };
    this.marks = marks;
    const [sales, latency, attempts] = this.plots;
    sales.setData([times, series.sales]);
    latency.setData([times, series.p50_ms, series.p99_ms]);
    attempts.setData([times, ...stacked(groups).reverse()]);
    this.drawReadouts();
  }

  /** The theme has changed. */
  repaint() {
    forgetColours();
    for (const plot of this.plots) plot.redraw(false, true);
  }

  pointTo(index) {
    if (index === this.point) return;
    this.point = index;
    if (this.asked || !this.series) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.drawReadouts();
    });
  }

  onKey(event) {
    if (!this.series) return;
    const last = this.series.times.length - 1;
    let index = this.point ?? last;
    if (event.key in STEP) index += STEP[event.key];
    else if (event.key === "Home") index = 0;
    else if (event.key === "End") index = last;
    else if (event.key === "Escape") index = null;
    else return;
    event.preventDefault();
    pointAt(this.plots, index === null ? null : this.series.times[Math.min(last, Math.max(0, index))]);
    if (index === null) announce(text.now);
  }

  drawReadouts() {
    const { times, sales, p50_ms, p99_ms, groups } = this.series;
    const last = times.length - 1;
    const index = Math.min(this.point ?? last, last);
    const lately = (values) => (this.point === null ? latest(values, LATELY) : values[index]) ?? null;
    const [p50, p99] = [lately(p50_ms), lately(p99_ms)];
    render(salesReadout(sales[index], Math.max(...sales)), this.readouts.sales);
    render(latencyReadout(p99, p50), this.readouts.latency);
    render(attemptsReadout(groups, index), this.readouts.attempts);
    this.drawScrub(index, sales[index], p99, p50);
  }

  drawScrub(index, sales, p99, p50) {
    const seconds = this.series.times[index];
    const time = format.time(new Date(seconds * 1e3));
    const near = this.point === null ? [] : this.marks.filter((mark) => Math.abs(mark.seconds - seconds) <= 1.5);
    const happened = near.map((mark) => mark.text).join(" · ");
    render(
      this.point === null
        ? html`<span>${text.now}</span>`
        : html`<strong>${text.at(time)}</strong>${happened ? html` <span>${happened}</span>` : nothing}`,
      this.scrubText,
    );
    this.scrub.setAttribute("aria-valuemax", this.series.times.length - 1);
    this.scrub.setAttribute("aria-valuenow", index);
    this.scrub.setAttribute(
      "aria-valuetext",
      [text.summary(time, sales, p99, p50), happened].filter(Boolean).join(". "),
    );
  }
}

const fillOf = (name) => area(name).fill;

/** The last of the latest `count` values that is one. */
function latest(values, count) {
  return values.slice(-count).findLast((value) => value !== null);
}

function skeleton() {
  const row = (name, title) => html`
    <div class="chart chart-${name}">
      <div class="readout">
        <h2>${title}</h2>
        <div data-readout=${name}></div>
      </div>
      <div class="plot" data-plot=${name} aria-hidden="true"></div>
    </div>
  `;
  return html`
    ${row("sales", text.sales)} ${row("latency", text.latency)} ${row("attempts", text.attempts)}
    <div
      class="scrub"
      role="slider"
      tabindex="0"
      aria-label=${text.scrub}
      aria-valuemin="0"
      aria-valuemax="0"
      aria-valuenow="0"
    >
      <p class="scrub-text"></p>
    </div>
  `;
}

const salesReadout = (now, most) => html`
  <p class="figure figure-main">${format.rate(now)}</p>
  <p class="soft">${text.peak(most)}</p>
`;

const latencyReadout = (p99, p50) => html`
  <p class="figure"><i class="key key-p99"></i>${latency(p99)} <small>${text.p99}</small></p>
  <p class="figure figure-less"><i class="key key-p50"></i>${latency(p50)} <small>${text.p50}</small></p>
  <p class="soft">${text.latencyOf}</p>
`;

const latency = (ms) =>
  ms === null ? html`<small>${text.nothing}</small>` : html`${format.ms(ms)} <small>${text.ms}</small>`;

const attemptsReadout = (groups, index) => html`
  <table class="bands">
    <tbody>
      ${[...GROUPS].reverse().map(
        (group) => html`
          <tr data-none=${groups[group][index] ? nothing : ""}>
            <th scope="row"><i class="key key-${group}"></i>${outcomeGroups[group]}</th>
            <td>${format.rate(groups[group][index])}</td>
          </tr>
        `,
      )}
    </tbody>
  </table>
`;
