/** The control room: logs in, asks for the state once a second, and draws it. */

import { logOut, readPauses, readState, Refused } from "./api.js";
import { Charts } from "./charts.js";
import { openPause, openResume } from "./dialog.js";
import { announce, byId, html, nothing, render } from "./dom.js";
import { showLogin } from "./login.js";
import { memory } from "./memory.js";
import * as room from "./room.js";
import { format, login, page } from "./strings.js";

const LOOK_MS = 1_000;
const PAUSES_MS = 5_000;
const STALE_MS = 4_000;

/** How a mark looks: bad news, news of a term, what a person did, or merely that something began or ended. */
const TONES = {
  take_over: "term",
  term_failed: "term",
  process_lost: "bad",
  store_lost: "bad",
  store_back: "good",
  process_started: "plain",
  process_stopped: "plain",
};

const seen = { state: null, at: 0, pauses: [], pausesAt: 0, level: null };
let charts = null;
let isWatching = false;

function start() {
  applyTheme();
  document.addEventListener("visibilitychange", () => document.hidden || look());
  if (memory.isLoggedIn) enter();
  else leave("");
}

function enter() {
  byId("login").hidden = true;
  byId("room").hidden = false;
  charts ??= new Charts(byId("charts"));
  isWatching = true;
  draw();
  byId("headline").querySelector("h1").focus(); // where the login was, there is nothing any more
  watch();
}

/** Ask for the token. `note` says why. */
function leave(note) {
  isWatching = false;
  memory.isLoggedIn = false;
  byId("dialog").close();
  byId("room").hidden = true;
  byId("login").hidden = false;
  document.title = page.name;
  drawTop();
  showLogin(byId("login"), note, enter);
}

async function watch() {
  while (isWatching) {
    const begunAt = performance.now();
    if (!document.hidden) await look();
    const rest = LOOK_MS - (performance.now() - begunAt);
    await new Promise((resolve) => setTimeout(resolve, Math.max(200, rest)));
  }
}

let looking = null;

/** Ask once. Whoever asks while another does gets that one's answer. */
function look() {
  looking ??= lookNow().finally(() => (looking = null));
  return looking;
}

async function lookNow() {
  try {
    if (Date.now() - seen.pausesAt > PAUSES_MS) {
      [seen.state, seen.pauses] = await Promise.all([readState(), readPauses().catch(keepsOld)]);
      seen.pausesAt = Date.now();
    } else seen.state = await readState();
    seen.at = Date.now();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401) leave(login.over);
  }
  if (isWatching) draw();
}

/** The record of pauses needs PostgreSQL; the state is shown without it, too. */
function keepsOld(error) {
  if (error instanceof Refused && error.status !== 401) return seen.pauses;
  throw error;
}

function lookAgain() {
  seen.pausesAt = 0;
  look();
}

// --- drawing ---

function draw() {
  drawTop();
  const sentence = headlineNow();
  render(room.headline(sentence), byId("headline"));
  document.title = page.title(sentence.level, sentence.text);
  tellLevel(sentence);
  if (!seen.state) return;
  const { state } = seen;
  const now = new Date(state.now);
  const marks = marksOf(state);
  document.body.toggleAttribute("data-stale", isStale());
  charts.update(state.series, marks);
  const actions = {
    onPause: (sale) => openPause(sale, lookAgain),
    onResume: (sale) => openResume(sale, lookAgain),
  };
  render(html`${room.saleList(state, now, actions)} ${room.queueTable(state)} ${room.storeList(state)}`, byId("now"));
  render(
    html`${room.processTable(state)} ${room.happened(marks.filter(({ tone }) => tone !== "operator"))}
    ${room.operatorLog(seen.pauses, now)}`,
    byId("below"),
  );
}

const isStale = () => Date.now() - seen.at > STALE_MS;

function headlineNow() {
  if (!seen.state) return { level: "ok", text: page.waiting };
  if (!isStale()) return seen.state.state;
  const seconds = (Date.now() - seen.at) / 1e3;
  return {
    level: "failing",
    text: page.stale(seconds),
    action: page.staleAction(format.time(new Date(seen.state.now))),
  };
}

/** The sentence changes each second; only news is read out. */
function tellLevel({ level, text, action }) {
  if (level !== seen.level && seen.state) {
    announce([page.levels[level], text, action].filter(Boolean).join(" "));
    seen.level = level;
  }
}

/** What is marked on the charts, oldest first: what processes tell, and what operators did. */
function marksOf(state) {
  const from = Date.parse(state.series.from);
  const told = state.marks.map(({ at, kind, text }) => ({
    seconds: Date.parse(at) / 1e3,
    tone: TONES[kind] ?? "plain",
    text,
  }));
  const done = seen.pauses
    .filter(({ at }) => Date.parse(at) >= from)
    .map((pause) => ({ seconds: Date.parse(pause.at) / 1e3, tone: "operator", text: room.sentenceOf(pause) }));
  return [...told, ...done].sort((one, other) => one.seconds - other.seconds);
}

function drawTop() {
  const { state } = seen;
  const isDark = memory.theme === "dark";
  render(
    html`
      <a class="brand" href="/control">flash <span>control</span></a>
      <p class="soft small deployment">
        ${state && isWatching ? page.deployment(state.deployment, state.version) : nothing}
      </p>
      <time class="numbers clock">${state && isWatching ? format.time(new Date(state.now)) : nothing}</time>
      <button type="button" class="quiet" @click=${() => setTheme(isDark ? "light" : "dark")}>
        ${isDark ? page.light : page.dark}
      </button>
      <a class="quiet" href="/">${page.shop}</a>
      ${isWatching ? html`<button type="button" class="quiet" @click=${end}>${page.logOut}</button>` : nothing}
    `,
    byId("top"),
  );
}

async function end() {
  try {
    await logOut();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
  }
  leave("");
}

function setTheme(theme) {
  memory.theme = theme;
  applyTheme();
  charts?.repaint();
  drawTop();
}

function applyTheme() {
  document.documentElement.dataset.theme = memory.theme;
}

start();
