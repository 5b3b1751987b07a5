/** What is so now: the sentence on top, sales, queues, stores, processes, and what has happened. Each from the state. */

import { html, nothing } from "./dom.js";
import { format, happenings, page, processes, queues, sales, stores } from "./strings.js";

const LEVEL_SHAPE = {
  ok: html`<svg class="shape" viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="10" /></svg>`,
  warning: html`<svg class="shape" viewBox="0 0 24 24" aria-hidden="true"><path d="M12 2 23 22H1z" /></svg>`,
  failing: html`<svg class="shape" viewBox="0 0 24 24" aria-hidden="true"><path d="M2 2h20v20H2z" /></svg>`,
};

/** A sentence of more characters is set smaller, so that what is below it keeps its place. */
const LONG = 72;

export const headline = ({ level, text, action }) => html`
  <div class="headline" data-level=${level} data-long=${text.length > LONG ? "" : nothing}>
    ${LEVEL_SHAPE[level]}
    <div>
      <h1 tabindex="-1"><span class="visually-hidden">${page.levels[level]} </span>${text}</h1>
      ${action ? html`<p class="action">${action}</p>` : nothing}
    </div>
  </div>
`;

export const saleList = (state, now, { onPause, onResume }) => html`
  <section aria-labelledby="sales-title">
    <h2 id="sales-title">${sales.title}</h2>
    ${
      state.sales.length
        ? html`<ul class="sales">
            ${state.sales.map((sale) => saleRow(sale, state, now, onPause, onResume))}
          </ul>`
        : html`<p class="soft">${sales.none}</p>`
    }
  </section>
`;

function saleRow(sale, state, now, onPause, onResume) {
  const starts = new Date(sale.starts_at);
  const isFuture = starts > now;
  return html`
    <li data-paused=${sale.paused ? "" : nothing}>
      <div class="sale-line">
        <h3>${sales.sale(sale.id)}</h3>
        <span class="soft"
          >${isFuture ? sales.opens(format.when(starts, now)) : sales.opened(format.when(starts, now))}</span
        >
        ${sale.sold < sale.stock ? saleButton(sale, onPause, onResume) : html`<span class="sold-out">${sales.status.sold_out}</span>`}
      </div>
      <progress max=${sale.stock} .value=${sale.sold} aria-label=${sales.sold(sale.sold, sale.stock)}></progress>
      <div class="sale-line small">
        <span class="numbers">${sales.sold(sale.sold, sale.stock)}</span>
        ${
          sale.paused
            ? html`<strong class="paused"
                >${sales.pausedBy(sale.paused.by, format.when(new Date(sale.paused.at), now))}</strong
              >`
            : nothing
        }
      </div>
      ${isFuture && !sale.leader ? nothing : html`<p class="soft small">${leaderOf(sale, state, now)}</p>`}
    </li>
  `;
}

/** One and the same button, before and after: the focus that a dialog gives back to it is not lost. */
function saleButton(sale, onPause, onResume) {
  const [word, label, act] = sale.paused
    ? [sales.resume, sales.resumeLabel(sale.id), onResume]
    : [sales.pause, sales.pauseLabel(sale.id), onPause];
  return html`<button type="button" class="button small" aria-label=${label} @click=${() => act(sale)}>
    ${word}
  </button>`;
}

function leaderOf(sale, state, now) {
  if (!sale.leader && !state.processes.length) return sales.unknownLeader; // nobody could tell us
  if (!sale.leader) return sale.sold < sale.stock ? html`<strong class="trouble">${sales.noLeader}</strong>` : nothing;
  const since = new Date(sale.leader.since);
  const term = !sale.leader.epoch ? sales.nobodyBuys : sales.term(sale.leader.epoch, format.when(since, now), format.age((now - since) / 1e3));
  return html`<span class="ink">${sales.leader(sale.leader.host, sale.leader.pid)}</span> · ${term}`;
}

/** All processes' queues of one name together: how many wait in all of them, and the longest wait in any. */
function queueSums(list) {
  const sums = new Map();
  for (const queue of list.flatMap((process) => process.queues)) {
    const sum = sums.get(queue.name) ?? { waiting: 0, wait: null };
    sum.waiting += queue.waiting;
    if (queue.estimated_wait_ms !== null) sum.wait = Math.max(sum.wait ?? 0, queue.estimated_wait_ms);
    sums.set(queue.name, sum);
  }
  return [...sums];
}

export function queueTable(state) {
  const rows = queueSums(state.processes);
  return html`
    <section aria-labelledby="queues-title">
      <h2 id="queues-title">${queues.title}</h2>
      ${
        rows.length
          ? html`<table class="numbers wide">
              <thead>
                <tr>
                  <th scope="col">${queues.name}</th>
                  <th scope="col" class="right">${queues.waiting}</th>
                  <th scope="col" class="right">${queues.wait}</th>
                </tr>
              </thead>
              <tbody>
                ${rows.map(
                  ([name, { waiting, wait }]) => html`
                    <tr>
                      <th scope="row">${queues.names[name] ?? name}</th>
                      <td class="right strong">${format.count(waiting)}</td>
                      <td class="right">${wait === null ? queues.unknown : format.wait(wait)}</td>
                    </tr>
                  `,
                )}
              </tbody>
            </table>`
          : html`<p class="soft">${queues.none}</p>`
      }
    </section>
  `;
}

export const storeList = (state) => html`
  <section aria-labelledby="stores-title">
    <h2 id="stores-title">${stores.title}</h2>
    <ul class="stores">
      ${Object.entries(state.stores).map(
        ([name, { status, error }]) => html`
          <li data-status=${status}>
            ${status === "ok" ? LEVEL_SHAPE.ok : LEVEL_SHAPE.failing}
            <strong>${stores.names[name] ?? name}</strong>
            <span>${status === "ok" ? stores.ok : stores.error}</span>
            ${error ? html`<span class="soft small error">${error}</span>` : nothing}
          </li>
        `,
      )}
    </ul>
  </section>
`;

export const processTable = (state) => html`
  <section class="processes" aria-labelledby="processes-title">
    <h2 id="processes-title">${processes.title}</h2>
    ${
      state.processes.length
        ? html`<div class="scrolls" tabindex="0" role="region" aria-labelledby="processes-title">
            <table class="numbers wide">
              <thead>
                <tr>
                  <th scope="col">${processes.role}</th>
                  <th scope="col">${processes.where}</th>
                  <th scope="col">${processes.version}</th>
                  <th scope="col" class="right">${processes.age}</th>
                  <th scope="col" class="right">${processes.perSecond}</th>
                  <th scope="col" class="right">${processes.waiting}</th>
                </tr>
              </thead>
              <tbody>
                ${state.processes.map((process) => processRow(process, state.version))}
              </tbody>
            </table>
          </div>`
        : html`<p class="soft">${processes.none}</p>`
    }
  </section>
`;

function processRow(process, version) {
  const waiting = process.queues.reduce((sum, queue) => sum + queue.waiting, 0);
  return html`
    <tr>
      <td>${process.role}</td>
      <td>${process.host}:${process.pid}</td>
      <td>
        ${process.version === version ? process.version : html`<strong class="warn">${processes.other(process.version)}</strong>`}
      </td>
      <td class="right">${format.age(process.age_seconds)}</td>
      <td class="right">
        ${process.role === "web" ? processes.requests(process.requests_per_second) : processes.sales(process.sales_per_second)}
      </td>
      <td class="right">${format.count(waiting)}</td>
    </tr>
  `;
}

/** `marks` are those of the charts that processes told of. Newest first. */
export const happened = (marks) => html`
  <section aria-labelledby="happened-title">
    <h2 id="happened-title">${happenings.title}</h2>
    ${
      marks.length
        ? html`<ol class="events" tabindex="0" aria-labelledby="happened-title">
            ${[...marks]
              .reverse()
              .map(
                (mark) => html`
                  <li>
                    <time class="numbers soft">${format.time(new Date(mark.seconds * 1e3))}</time
                    ><i class="flag flag-${mark.tone}"></i><span>${mark.text}</span>
                  </li>
                `,
              )}
          </ol>`
        : html`<p class="soft">${happenings.none}</p>`
    }
  </section>
`;

export const operatorLog = (pauses, now) => html`
  <section aria-labelledby="operators-title">
    <h2 id="operators-title">${happenings.operators}</h2>
    ${
      pauses.length
        ? html`<ol class="events" tabindex="0" aria-labelledby="operators-title">
            ${pauses.map(
              (pause) => html`
                <li>
                  <time class="numbers soft">${format.when(new Date(pause.at), now)}</time
                  ><i class="flag flag-operator"></i>
                  <span>${sentenceOf(pause)} <span class="soft">(${happenings.sold(pause.sold)})</span></span>
                </li>
              `,
            )}
          </ol>`
        : html`<p class="soft">${happenings.noOperators}</p>`
    }
  </section>
`;

export const sentenceOf = ({ action, sale_id, by, reason }) =>
  action === "pause" ? happenings.paused(sale_id, by, reason) : happenings.resumed(sale_id, by, reason);
