/** Every word that a visitor reads or hears, but for the title and the lines of index.html that need no script. */

const number = new Intl.NumberFormat("en");
const clockTime = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const fullTime = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
const plural = (count, one, many) => `${number.format(count)} ${count === 1 ? one : many}`;

export const format = {
  number: (value) => number.format(value),
  dateTime: (date) => fullTime.format(date),

  /** 0:09, 23:41, 1:02:03: what a clock would show. */
  countdown(seconds) {
    const whole = Math.max(0, Math.ceil(seconds));
    const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    const two = (part) => String(part).padStart(2, "0");
    return parts[0] ? `${parts[0]}:${two(parts[1])}:${two(parts[2])}` : `${parts[1]}:${two(parts[2])}`;
  },

  /** "12 minutes": what a person would say. */
  duration(seconds) {
    if (seconds < 1) return "a moment";
    if (seconds < 90) return plural(Math.ceil(seconds), "second", "seconds");
    if (seconds < 5400) return plural(Math.round(seconds / 60), "minute", "minutes");
    return plural(Math.round(seconds / 3600), "hour", "hours");
  },
};

export const text = {
  title: (remaining, sale) =>
    remaining === null ? "flash" : `${remaining ? `${number.format(remaining)} left` : "Sold out"} · Sale ${sale}`,

  saleName: (id) => `Sale ${id}`,
  opened: (date) => `opened ${clockTime.format(date)}`,
  opensAt: (date) => `opens ${clockTime.format(date)}`,
  chooseName: "Choose a name",
  you: (name) => `You: ${name}`,
  mine: "My items",
  api: "API",

  left: (stock) => `of ${number.format(stock)} left`,
  leftLabel: (remaining, stock) => `${number.format(remaining)} of ${number.format(stock)} items left`,
  soldOut: "Sold out",
  allSold: (stock) => `all ${number.format(stock)} are gone`,
  nextSaleIn: "until the next sale",
  nextSaleLabel: (spoken) => `The next sale opens in ${spoken}`,
  perSecond: "sold per second",
  perSecondLabel: (now, most) => `${now} sold per second now, at most ${most} during the last minute`,
  compactLeft: (remaining) => (remaining ? `${number.format(remaining)} left` : "Sold out"),
  compactNext: (time) => `next in ${time}`,

  earlier: "Earlier sales still open:",
  earlierSale: (id, remaining) => `${id} (${number.format(remaining)} left)`,
  toCurrent: (id) => `Back to sale ${id}, the current one`,
  toNext: (id) => `See what sale ${id} brings`,
  newSale: (id) => `Sale ${id} has opened.`,
  goThere: "Go there",

  veilTitle: (id) => `Sale ${id} opens in`,
  veilNote: (stock) => `${number.format(stock)} items. Look around; buying starts when the clock says zero.`,

  filters: "Find items",
  search: "Search names",
  allKinds: "all",
  kinds: "Kind",
  colours: "Colour",
  anyColour: "any colour",
  hideSold: "Hide sold",
  foundOf: (count, all) => `${number.format(count)} of ${number.format(all)} items`,
  clear: "Show all items",
  nothingFound: "Nothing here goes by that.",
  nothingFoundHint: "Try one word of a name, or another colour.",
  nothingLeft: "All of these are sold.",
  onlyFirst: (count) => `The first ${number.format(count)} are shown. Search to see others.`,

  grid: (id) => `Items of sale ${id}`,
  tileNumber: (itemNumber) => `, number ${itemNumber} `,
  sold: "Sold",
  yours: "Yours",

  loading: "The hall is being opened…",
  failedTitle: "The shop does not answer.",
  failedText: "Your network may be away, or the shop is restarting. This page goes on trying by itself.",
  noSaleTitle: "There is no sale yet.",
  noSaleText: "The first one is being prepared. It appears here by itself.",
  tryNow: "Try now",
  offline: "No connection. What you see may be old.",
  backOnline: "Connected again.",
  polling: "Live updates are away, so what you see may be a few seconds old.",
};

export const sheet = {
  close: "Close",
  of: (itemNumber, sale) => `Number ${itemNumber} · Sale ${sale}`,
  checkOut: "Check out",
  checkingOut: "Checking out…",
  limit: (left, limit, name) => `${name} may buy ${left} more of ${limit} in this sale.`,
  limitReached: (limit) => `You have your ${limit} items of this sale.`,
  nameLabel: "Your name in this shop",
  nameHint: "Kept in this browser. There is no password: pick a name that is yours alone.",
  nameInvalid: "A name has 1 to 64 characters.",
  nameSave: "Use this name",
  ticket: "Your code",
  ticketNote: "It reserves nothing: until you buy, somebody else can.",
  ticketFor: (name) => `For ${name}`,
  timeLeft: "Good for",
  copy: "Copy code",
  copied: "Copied",
  buy: "Buy it",
  buying: "Buying…",
  stop: "Stop waiting",
  bought: "It is yours.",
  receipt: "Receipt",
  receiptItem: "Item",
  receiptNumber: "Number",
  receiptSale: "Sale",
  receiptBuyer: "Buyer",
  receiptTime: "Bought",
  receiptCode: "Code",
  again: "Check out again",
  retryNow: "Try again",
  keepLooking: "Keep looking",
  similar: (kind) => `Other ${kind}`,
  seeMine: "See my items",
};

/** While the service asks us to wait and try again. `in` is the number of seconds. */
export const waiting = {
  overloaded: (seconds) => `Many people are buying at this moment. Trying again in ${seconds}.`,
  unavailable: (seconds) => `The shop is catching its breath. Trying again in ${seconds}.`,
  outcome_unknown: (seconds) =>
    `We could not tell whether that went through, so we are asking again in ${seconds}.`,
  paused: (seconds) => `This sale is paused by its operator. Trying again in ${seconds}.`,
  rate_limited: (seconds) => `That was a little fast. Trying again in ${seconds}.`,
  unreachable: (seconds) => `No connection. Trying again in ${seconds}.`,
  other: (seconds) => `That did not work. Trying again in ${seconds}.`,
  sameRequest: "It is the same request, so nothing can be bought twice.",
};

/**
 * What each `code` of the service means to a buyer; `sold_before` is the page's own, of what was sold before it was
 * looked at. `context` has the sale's limit and the seconds to the next sale.
 */
export const refusals = {
  sold_before: { title: "Sold", text: () => "This one has found its owner." },
  item_sold: { title: "Somebody was faster", text: () => "This one was sold a moment ago." },
  sold_out: {
    title: "This sale is sold out",
    text: ({ nextInSeconds }) =>
      nextInSeconds === null ? "The next one is on its way." : `The next opens in ${format.duration(nextInSeconds)}.`,
  },
  user_limit_reached: {
    title: "You have your share",
    text: ({ limit }) => `You have your ${limit} items of this sale. The next sale has others.`,
  },
  invalid_code: {
    title: "This code has run out",
    text: () => "Nothing was bought with it. Check out again to get a new one.",
  },
  code_already_used: { title: "Bought already", text: () => "This code has been used before. Its receipt is below." },
  sale_not_open: {
    title: "Not open yet",
    text: ({ nextInSeconds }) =>
      nextInSeconds === null ? "Its sale opens soon." : `Its sale opens in ${format.duration(nextInSeconds)}.`,
  },
  item_not_found: { title: "No such item", text: () => "The shop does not know this item (any more)." },
  sale_not_found: { title: "No such sale", text: () => "The shop does not know this sale (any more)." },
  invalid_request: {
    title: "The shop did not understand",
    text: ({ detail }) => `It says: ${detail}. Choosing another name may help.`,
  },
  invalid_user_token: {
    title: "Only for signed-in buyers",
    text: () => "This shop sells to those who are signed in. Buy through the site that sent you here.",
  },
  idempotency_key_reused: {
    title: "A mix-up of requests",
    text: () => "This request was used for another code. Check out again; nothing was bought twice.",
  },
  rate_limited: { title: "Too fast", text: () => "Nothing was started. Wait a little and try again." },
  overloaded: { title: "Too busy", text: () => "We tried for a minute and nothing was started. Try again." },
  unavailable: { title: "The shop cannot sell right now", text: () => "We tried for a minute. Try again a little later." },
  paused: { title: "The sale is paused", text: () => "Its operator has stopped it for now. Your code keeps its time." },
  outcome_unknown: {
    title: "We do not know yet",
    text: () => "It may have gone through or not. Ask again: nothing can be bought twice.",
  },
  unreachable: {
    title: "No connection",
    text: () => "We do not know whether the request arrived. Ask again: nothing can be bought twice.",
  },
  not_purchased: { title: "Not bought", text: () => "Nothing has been bought with this code yet." },
  other: { title: "That did not work", text: ({ detail }) => `The shop says: ${detail}` },
};

export const mine = {
  title: "My items",
  none: "Nothing yet. What you buy is kept in this browser, with its receipt.",
  group: (sale) => `Sale ${sale}`,
  limitLeft: (left, limit) => (left ? `${left} of ${limit} left to buy` : `all ${limit} bought`),
  openCode: "Code not used yet",
  other: (name, count) => `${name}: ${plural(count, "item", "items")}`,
  changeName: "Change name",
};

/** What a screen reader says, politely, when something has happened. */
export const spoken = {
  checkedOut: (name) => `You have a code for ${name}. Buy it to make it yours.`,
  bought: (name) => `${name} is yours. The receipt is shown.`,
  refused: (title, reason) => `${title}. ${reason}`,
  soldOut: (id) => `Sale ${id} is sold out.`,
  opened: (id, stock) => `Sale ${id} has opened with ${number.format(stock)} items.`,
  left: (remaining) => `${number.format(remaining)} left.`,
};
