/**
 * A client of the flash HTTP API for browsers, and for anything else that has `fetch`. It has no dependencies.
 *
 * A refusal is a `Problem` with the service's `code`. What the service asks to be repeated (a 503, or 429
 * `rate_limited`) is repeated after its `Retry-After`, a purchase always under the same `Idempotency-Key`, so that no
 * repetition can buy twice. Types: flash-client.d.ts.
 */

/** @typedef {import("./flash-client.d.ts").PersistentOptions} PersistentOptions */

const PATIENCE_SECONDS = 60;
const REQUEST_SECONDS = 20;
const BACKOFF_SECONDS_MAX = 8;
/** The service gives a sign of life every 15 s: after so long without one, the connection is dead. */
const SILENCE_SECONDS = 40;
const EVENT_NAMES = {
  state: "onState",
  item_sold: "onItemSold",
  sold_out: "onSoldOut",
  sale_announced: "onSaleAnnounced",
  sale_opened: "onSaleOpened",
};

/** The service said no, or "not now". Switch on `code`. */
export class Problem extends Error {
  constructor(status, body, retryAfterSeconds) {
    super(body.detail ?? `HTTP ${status}`);
    this.name = "Problem";
    this.status = status;
    this.code = body.code ?? "unknown";
    this.detail = this.message;
    this.body = body;
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /** Whether the same request may be answered otherwise in a moment. */
  get isTemporary() {
    return this.status === 503 || this.code === "rate_limited";
  }
}

/** No answer came: nobody knows whether the request arrived. */
export class Unreachable extends Error {
  constructor(cause) {
    super("The service could not be reached", { cause });
    this.name = "Unreachable";
    this.code = "unreachable";
    this.isTemporary = true;
    this.retryAfterSeconds = null;
  }
}

export class FlashClient {
  #base;
  #fetch;
  #patienceSeconds;

  constructor(baseUrl = "", { fetch = globalThis.fetch.bind(globalThis), patienceSeconds = PATIENCE_SECONDS } = {}) {
    this.#base = baseUrl.replace(/\/$/, "");
    this.#fetch = fetch;
    this.#patienceSeconds = patienceSeconds;
  }

  /** Reserve nothing, but get a code with which `itemId` may be bought. */
  async checkout(userId, itemId, /** @type {PersistentOptions & { userToken?: string }} */ { userToken, ...options } = {}) {
    const query = new URLSearchParams({ user_id: userId, id: String(itemId) });
    const headers = userToken === undefined ? {} : { "User-Token": userToken };
    return (await this.#persist(`/checkout?${query}`, { method: "POST", headers }, options)).code;
  }

  /** Buy with a code, and return the receipt. */
  async purchase(code, { idempotencyKey = newIdempotencyKey(), ...options } = {}) {
    const query = new URLSearchParams({ code });
    const request = { method: "POST", headers: { "Idempotency-Key": idempotencyKey } };
    return this.#persist(`/purchase?${query}`, request, options);
  }

  /** What was bought with a code; null if nothing was. */
  async receipt(code, options = {}) {
    try {
      return await this.#persist(`/purchases/${encodeURIComponent(code)}`, {}, options);
    } catch (error) {
      if (error.code === "not_purchased") return null;
      throw error;
    }
  }

  sales(options) {
    return this.#read("/sales", options);
  }

  currentSale(options) {
    return this.#read("/sales/current", options);
  }

  sale(saleId, options) {
    return this.#read(`/sales/${saleId}`, options);
  }

  items(saleId, { after = 0, limit = 100, available = false, ...options } = {}) {
    const query = new URLSearchParams({ after: String(after), limit: String(limit), available: String(available) });
    return this.#read(`/sales/${saleId}/items?${query}`, options);
  }

  item(itemId, options) {
    return this.#read(`/items/${itemId}`, options);
  }

  /** Which items of a sale are sold: one byte for each, in order, 1 once it is. */
  async soldItems(saleId, options) {
    const { first_item_id: firstItemId, stock, sold } = await this.#read(`/sales/${saleId}/sold`, options);
    return { firstItemId, flags: flagsOf(sold, stock) };
  }

  catalog(options) {
    return this.#read("/catalog.json", { ...options, cache: "default" });
  }

  /** Three bytes for each item of the block: the positions of its words in the catalog's lists. */
  async catalogBlock(number, options) {
    const { first_item_id: firstItemId, words } = await this.#read(`/catalog/${number}`, { ...options, cache: "default" });
    return { firstItemId, words: bytesOf(words) };
  }

  /**
   * Listen to what becomes of a sale (or of the current one, whichever that is) until `signal` is aborted, connecting
   * again by itself. Handlers: onConnected, onLost(error), onState, onItemSold, onSoldOut, onSaleAnnounced, onSaleOpened.
   */
  async events({ saleId = null, signal, ...handlers }) {
    const stream = new EventStream(this.#fetch, `${this.#base}/events${saleId === null ? "" : `?sale=${saleId}`}`);
    let failures = 0;
    const onOpen = () => {
      failures = 0;
      handlers.onConnected?.();
    };
    while (!signal.aborted) {
      try {
        await stream.listen(signal, onOpen, (name, data) => handlers[EVENT_NAMES[name]]?.(data));
        throw new Unreachable(new Error("the stream ended"));
      } catch (error) {
        if (signal.aborted) return;
        failures += 1;
        handlers.onLost?.(error);
        await sleep(error.retryAfterSeconds ?? stream.retrySeconds(failures), signal).catch(() => undefined);
      }
    }
  }

  /** The browser's own cache sends If-None-Match, and turns a 304 into the answer that it has. */
  #read(path, /** @type {{ signal?: AbortSignal, cache?: RequestCache }} */ { signal, cache = "no-cache" } = {}) {
    return this.#once(path, { cache }, signal);
  }

  /** Send a request until it gets an answer that is not "not now", or patience runs out. */
  async #persist(path, request, /** @type {PersistentOptions} */ options = {}) {
    const { signal, onRetry, patienceSeconds = this.#patienceSeconds } = options;
    const deadline = performance.now() + patienceSeconds * 1000;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#once(path, { cache: "no-store", ...request }, signal);
      } catch (error) {
        if (!error.isTemporary) throw error;
        const seconds = error.retryAfterSeconds ?? backoff(attempt);
        if (performance.now() + seconds * 1000 > deadline) throw error;
        onRetry?.({ attempt, seconds, error });
        await sleep(seconds, signal);
      }
    }
  }

  async #once(path, request, signal) {
    const timeout = AbortSignal.timeout(REQUEST_SECONDS * 1000);
    let response, body;
    try {
      const either = signal ? AbortSignal.any([signal, timeout]) : timeout;
      response = await this.#fetch(this.#base + path, { ...request, signal: either });
      body = await response.text();
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw new Unreachable(error);
    }
    if (!response.ok) throw problemOf(response, body);
    return JSON.parse(body);
  }
}

/** A new name for one purchase. Keep it with the code: repeating a purchase under it is always safe. */
export function newIdempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** One byte for each of `count` items from a bitmap in base64, whose bit k of byte j is item 8j+k. */
export function flagsOf(base64, count) {
  const bytes = bytesOf(base64);
  return Uint8Array.from({ length: count }, (_, place) => (bytes[place >> 3] >> (place & 7)) & 1);
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** Server-sent events over `fetch`, which says more than an EventSource: refusals, Retry-After and silence. */
class EventStream {
  #fetch;
  #url;
  #lastId = null;
  #retrySeconds = 2;

  constructor(fetch, url) {
    this.#fetch = fetch;
    this.#url = url;
  }

  /** When to connect again, a little different for everybody. */
  retrySeconds(failures) {
    return failures <= 1 ? this.#retrySeconds * (0.5 + Math.random()) : backoff(failures);
  }

  /** Pass events on until the stream ends. Throws when it breaks or does not begin. */
  async listen(signal, onOpen, onEvent) {
    const silence = new AbortController();
    const either = AbortSignal.any([signal, silence.signal]);
    let timer = 0;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(new Error("nothing was heard")), SILENCE_SECONDS * 1000);
    };
    const headers = { Accept: "text/event-stream", ...(this.#lastId && { "Last-Event-ID": this.#lastId }) };
    heard();
    try {
      const response = await this.#fetch(this.#url, { headers, cache: "no-store", signal: either });
      if (!response.ok) throw problemOf(response, await response.text());
      onOpen();
      await this.#readLines(response.body, heard, onEvent);
    } catch (error) {
      throw error instanceof Problem ? error : new Unreachable(error);
    } finally {
      clearTimeout(timer);
    }
  }

  async #readLines(body, heard, onEvent) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    let event = { name: "message", data: [] };
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      const lines = (text + value).split(/\r\n|\n/);
      text = lines.pop();
      for (const line of lines) event = this.#takeLine(line, event, onEvent);
    }
  }

  #takeLine(line, event, onEvent) {
    if (line === "") {
      // Only now: whoever lost the connection in the middle of an event has not got it.
      if (event.id !== undefined) this.#lastId = event.id;
      if (event.data.length) onEvent(event.name, JSON.parse(event.data.join("\n")));
      return { name: "message", data: [] };
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "event") event.name = value;
    if (field === "data") event.data.push(value);
    if (field === "id") event.id = value;
    if (field === "retry" && /^\d+$/.test(value)) this.#retrySeconds = Number(value) / 1000;
    return event;
  }
}

function problemOf(response, text) {
  const seconds = Number(response.headers.get("Retry-After"));
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // Something between us and the service answered in its own words.
  }
  return new Problem(response.status, body, seconds > 0 ? seconds : null);
}

function backoff(attempt) {
  return Math.min(2 ** (attempt - 1), BACKOFF_SECONDS_MAX) * (0.5 + Math.random());
}

function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    if (signal?.aborted) return stop();
    signal?.addEventListener("abort", stop, { once: true });
  });
}
