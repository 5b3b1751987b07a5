/** A client of the flash HTTP API. See flash-client.js. */

export interface Sale {
  id: number;
  starts_at: string;
  opens_at: string;
  stock: number;
  sold: number;
  remaining: number;
  status: "upcoming" | "open" | "sold_out";
  first_item_id: number;
  user_limit: number;
}

/** `now` is the time by the service's clock (RFC 3339). */
export interface SaleNow extends Sale {
  now: string;
}

export interface SalesPage {
  sales: Sale[];
  next: number | null;
  now: string;
}

export interface Item {
  id: number;
  name: string;
  image: string;
}

export interface ListedItem extends Item {
  available: boolean;
}

export interface ItemsPage {
  items: ListedItem[];
  next: number | null;
}

export interface Receipt {
  item: Item;
  sale_id: number;
  user_id: string;
  purchased_at: string;
}

/** The words of names. A position counts through all groups of its list. */
export interface Catalog {
  colours: { name: string; words: string[]; swatch: string }[];
  materials: string[];
  kinds: { name: string; words: string[] }[];
  block_items: number;
  code_seconds: number;
}

export type TemporaryCode = "overloaded" | "unavailable" | "outcome_unknown" | "paused" | "rate_limited";
export type RefusalCode =
  | "invalid_request"
  | "item_not_found"
  | "sale_not_found"
  | "sale_not_open"
  | "item_sold"
  | "sold_out"
  | "invalid_user_token"
  | "invalid_code"
  | "code_already_used"
  | "user_limit_reached"
  | "idempotency_key_reused";

/** The service said no, or "not now" (`isTemporary`). A client must expect codes that are not listed here. */
export class Problem extends Error {
  readonly name: string;
  readonly status: number;
  readonly code: TemporaryCode | RefusalCode | (string & {});
  readonly detail: string;
  /** All members of the problem; `purchase` is the receipt that `code_already_used` carries. */
  readonly body: { purchase?: Receipt; [member: string]: unknown };
  readonly retryAfterSeconds: number | null;
  readonly isTemporary: boolean;
}

/** No answer came: nobody knows whether the request arrived. */
export class Unreachable extends Error {
  readonly name: string;
  readonly code: "unreachable";
  readonly isTemporary: true;
  readonly retryAfterSeconds: null;
}

export interface Retry {
  /** How many answers have been "not now" so far. */
  attempt: number;
  seconds: number;
  error: Problem | Unreachable;
}

export interface RequestOptions {
  signal?: AbortSignal;
}

export interface PersistentOptions extends RequestOptions {
  /** Called before each wait. */
  onRetry?(retry: Retry): void;
  /** How long to go on; 60 by default. Afterwards the last error is thrown. */
  patienceSeconds?: number;
}

export interface StateEvent {
  now: string;
  sales: Sale[];
  sale_id: number;
  first_id: number;
  /** A bitmap for `flagsOf`; left out of sales with more than 100,000 items. */
  sold?: string;
}

export interface ItemSoldEvent {
  sale_id: number;
  items: number[];
  remaining: number;
}

export interface EventOptions {
  /** Null or absent: the current sale, and the next one once that opens. */
  saleId?: number | null;
  signal: AbortSignal;
  onConnected?(): void;
  onLost?(error: Problem | Unreachable): void;
  onState?(event: StateEvent): void;
  onItemSold?(event: ItemSoldEvent): void;
  onSaleAnnounced?(sale: Sale): void;
  onSaleOpened?(sale: Sale): void;
  onSoldOut?(event: { sale_id: number }): void;
}

export interface ClientOptions {
  fetch?: typeof fetch;
  patienceSeconds?: number;
}

/** Everything rejects with a `Problem` or `Unreachable`, or with the reason of an aborted `signal`. */
export class FlashClient {
  /** `baseUrl`: where the service is; the page's own origin by default. */
  constructor(baseUrl?: string, options?: ClientOptions);
  /** A code with which the item may be bought. Retries. `userToken`: where buyers must be signed. */
  checkout(userId: string, itemId: number, options?: PersistentOptions & { userToken?: string }): Promise<string>;
  /** Buys. Retries under the same key, so it never buys twice. */
  purchase(code: string, options?: PersistentOptions & { idempotencyKey?: string }): Promise<Receipt>;
  /** Null if nothing has been bought with the code. */
  receipt(code: string, options?: PersistentOptions): Promise<Receipt | null>;
  /** The open sales and the next one, newest first. */
  sales(options?: RequestOptions): Promise<SalesPage>;
  currentSale(options?: RequestOptions): Promise<SaleNow>;
  sale(saleId: number, options?: RequestOptions): Promise<SaleNow>;
  items(
    saleId: number,
    options?: RequestOptions & { after?: number; limit?: number; available?: boolean },
  ): Promise<ItemsPage>;
  item(itemId: number, options?: RequestOptions): Promise<ListedItem & { sale_id: number }>;
  soldItems(saleId: number, options?: RequestOptions): Promise<{ firstItemId: number; flags: Uint8Array }>;
  catalog(options?: RequestOptions): Promise<Catalog>;
  catalogBlock(number: number, options?: RequestOptions): Promise<{ firstItemId: number; words: Uint8Array }>;
  /** Resolves when `signal` is aborted. Lost connections are made again. */
  events(options: EventOptions): Promise<void>;
}

export function newIdempotencyKey(): string;
export function flagsOf(base64: string, count: number): Uint8Array;
