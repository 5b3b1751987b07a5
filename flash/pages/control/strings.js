/** Every word that an operator reads or hears here, but for what the service itself says about its state. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });
const plural = (count, one, many) => `${whole.format(count)} ${count === 1 ? one : many}`;

export const format = {
  count: (value) => whole.format(value),

  /** Of events a second: a small one keeps a digit, so that "0" means none. */
  rate: (value) => (value > 0 && value < 10 ? tenths : whole).format(value),

  /** A latency in milliseconds, without its unit. */
  ms: (value) => (value < 10 ? tenths : whole).format(value),

  /** A wait, with its unit. */
  wait: (ms) => (ms < 1000 ? `${whole.format(ms)} ms` : `${tenths.format(ms / 1000)} s`),

  time: (date) => clock.format(date),

  /** Of another day, with the day. */
  when: (date, now) =>
    now - date < 12 * 3600e3 && date - now < 12 * 3600e3
      ? clock.format(date)
      : `${day.format(date)} ${clock.format(date)}`,

  age(seconds) {
    if (seconds < 100) return `${Math.max(0, Math.round(seconds))} s`;
    if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
    if (seconds < 48 * 3600)
      return `${Math.floor(seconds / 3600)} h ${String(Math.floor(seconds / 60) % 60).padStart(2, "0")}`;
    return `${Math.floor(seconds / 86400)} days`;
  },
};

export const page = {
  name: "flash control",
  title: (level, sentence) => `${{ ok: "", warning: "! ", failing: "FAILING: " }[level]}${sentence} · flash control`,
  deployment: (id, version) => `deployment ${id} · flash ${version}`,
  light: "Light",
  dark: "Dark",
  shop: "Shop",
  logOut: "Log out",
  levels: { ok: "All is well:", warning: "Warning:", failing: "Failing:" },
  stale: (seconds) => `No answer from here for ${format.age(seconds)}.`,
  staleAction: (time) =>
    `What you see below is from ${time}. This page goes on asking; another web process may answer.`,
  waiting: "Asking for the state…",
};

export const login = {
  title: "Control room",
  lead: "For whoever operates this service. The token is the setting FLASH_CONTROL_TOKEN.",
  token: "Token",
  who: "Your name",
  whoHint: "It is recorded with everything you do here.",
  enter: "Enter",
  entering: "Checking…",
  wrong: "That is not the token.",
  slow: (seconds) => `Too many wrong tokens from your address. Wait ${plural(seconds, "second", "seconds")}.`,
  unreachable: "The service does not answer. Try again.",
  over: "Your session has ended. Log in again.",
};

export const charts = {
  region: "The last five minutes",
  scrub: "Point in time. Arrow keys move it; Escape returns to now.",
  now: "now",
  at: (time) => `at ${time}`,
  sales: "Sales per second",
  peak: (value) => `most ${format.rate(value)}`,
  latency: "Purchase latency",
  /** Checkouts are left out: they are many, and answered without the leader. */
  latencyOf: "from a purchase's arrival to its answer",
  p99: "p99",
  p50: "p50",
  ms: "ms",
  nothing: "none",
  attempts: "Attempts per second",
  summary: (time, sales, p99, p50) =>
    `${time}: ${format.rate(sales)} sales a second` +
    (p99 === null ? "" : `, p99 ${format.ms(p99)} milliseconds, p50 ${format.ms(p50)}`),
};

/** What attempts are shown as, from the bottom of the band to its top. */
export const outcomeGroups = {
  sold: "sold",
  issued: "codes given",
  gone: "item or sale gone",
  refused: "refused by a rule",
  paused: "sale paused",
  busy: "too busy",
  failed: "failed",
};

export const sales = {
  title: "Sales",
  none: "No sale is open or prepared.",
  sale: (id) => `Sale ${id}`,
  sold: (sold, stock) => `${whole.format(sold)} of ${whole.format(stock)} sold`,
  status: {
    open: "open",
    upcoming: "not yet open",
    scheduled: "not yet open",
    sold_out: "sold out",
  },
  opens: (time) => `opens ${time}`,
  opened: (time) => `opened ${time}`,
  leader: (host, pid) => `${host}:${pid}`,
  term: (epoch, since, age) => `epoch ${epoch}, since ${since} (${age})`,
  nobodyBuys: "leads it as soon as somebody buys",
  noLeader: "nobody leads it",
  unknownLeader: "who leads it is not known",
  pausedBy: (by, at) => `Paused by ${by} at ${at}`,
  pause: "Pause",
  resume: "Resume",
  pauseLabel: (id) => `Pause sale ${id}`,
  resumeLabel: (id) => `Resume sale ${id}`,
};

export const queues = {
  title: "Queues",
  none: "No process has told of a queue.",
  names: {
    checkouts: "checkouts to store",
    purchases: "purchases to decide",
    redemptions: "receipts to look up",
    commands: "commands to leaders",
  },
  name: "Queue",
  waiting: "Waiting",
  wait: "Would wait",
  unknown: "–",
};

export const stores = {
  title: "Stores",
  names: { database: "PostgreSQL", redis: "Redis" },
  ok: "fine",
  error: "cannot be used",
};

export const processes = {
  title: "Processes",
  none: "No process has told of itself. Is Redis reachable?",
  role: "Role",
  where: "Host and pid",
  version: "Version",
  age: "Running",
  perSecond: "Per second",
  requests: (rate) => `${format.rate(rate)} requests`,
  sales: (rate) => `${format.rate(rate)} sales`,
  waiting: "Waiting",
  other: (version) => `${version} (other)`,
};

export const happenings = {
  title: "What happened",
  none: "Nothing in the last five minutes.",
  paused: (id, by, reason) => `Sale ${id} paused by ${by}: ${reason}`,
  resumed: (id, by, reason) => `Sale ${id} resumed by ${by}: ${reason}`,
  operators: "What operators did",
  noOperators: "No sale was ever paused.",
  sold: (sold) => `${whole.format(sold)} sold`,
};

export const dialog = {
  pauseTitle: (id) => `Pause sale ${id}?`,
  pauseText:
    "Once this is answered, nothing of the sale is sold until somebody resumes it. Buyers keep their codes and hear when to try again.",
  resumeTitle: (id) => `Resume sale ${id}?`,
  resumeText: "It sells again within a second.",
  number: (id) => `Type the sale's number, ${id}, to confirm`,
  numberWrong: (id) => `That is not ${id}.`,
  who: "Your name",
  reason: "Why",
  reasonHint: "It is recorded with your name and the time.",
  missing: "This is needed.",
  cancel: "Cancel",
  pause: (id) => `Pause sale ${id}`,
  resume: (id) => `Resume sale ${id}`,
  working: "Asking…",
  paused: (id) => `Sale ${id} is paused.`,
  resumed: (id) => `Sale ${id} sells again.`,
  failed: (detail) => `That did not work. ${detail}`,
  unknown: "It may have happened or not: look at the sale, and ask again if it has not.",
};
