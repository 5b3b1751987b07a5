/** Puts the page together: who tells whom, and what the address says. */

import { BuyerDialog } from "./buyer.js";
import { Catalog } from "./catalog.js";
import { clock } from "./clock.js";
import { announce, oncePerFrame } from "./dom.js";
import { Filters } from "./filters.js";
import { FlashClient } from "./flash-client.js";
import { Hall } from "./hall.js";
import { Live } from "./live.js";
import { announceNews } from "./announcements.js";
import { Notice } from "./notice.js";
import { MyItems } from "./my-items.js";
import { PurchaseFlow } from "./purchase-flow.js";
import { Sheet } from "./sheet.js";
import { Shop } from "./shop.js";
import { Status } from "./status.js";
import { format, spoken, waiting } from "./strings.js";
import { Wallet } from "./wallet.js";

const RETRY_MS = 3_000;
/** Receipts that are checked when the page opens: the service may have been set up anew since. */
const RECEIPTS_CHECKED_MAX = 20;

const element = (id) => document.getElementById(id);
const client = new FlashClient();
const shop = new Shop();
const wallet = new Wallet();
const catalog = new Catalog(client);
const live = new Live(client, shop);
const flows = new Map();

const actions = { choose, open, close, similar, showMine, changeName, tryNow: () => live.refresh().catch(() => undefined) };
const saleOf = (id) => shop.saleById(id);
const status = new Status(shop, { wallet, actions });
const nextInSeconds = () => status.nextInSeconds();
const kindOf = (itemId) => {
  const words = catalog.describe(itemId);
  return words === null ? null : catalog.kinds[words.kind].name;
};
const sheet = new Sheet(element("sheet"), { wallet, saleOf, nextInSeconds, kindOf, actions });
const myItems = new MyItems(element("mine"), { wallet, saleOf, actions });
const buyerDialog = new BuyerDialog(element("buyer"), wallet);
const filters = new Filters(element("filters"), catalog);
const notice = new Notice(element("notice"), shop, actions);
const hall = new Hall(shop, catalog, filters, wallet, (item) => open(item.id));

const draw = oncePerFrame(() => {
  status.draw();
  notice.draw();
  sheet.draw();
  myItems.draw();
});

await start();

async function start() {
  shop.addEventListener("change", draw);
  wallet.addEventListener("change", () => {
    for (const flow of flows.values()) flow.look();
    draw();
  });
  shop.addEventListener("sold", updateFlows);
  announceNews(shop);
  filters.addEventListener("change", writeAddress);
  addEventListener("popstate", () => showAddressedItem());
  addEventListener("keydown", onKey);
  element("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address is for items
    hall.enter();
  });
  draw();
  await untilLoaded();
  filters.read(new URLSearchParams(location.search));
  hall.open();
  live.start();
  await chooseAddressedSale();
  showAddressedItem();
  everySecond();
  await checkReceipts();
}

/** The catalog is needed for everything. While it cannot be had, the page says so and goes on trying. */
async function untilLoaded() {
  for (;;) {
    try {
      return await Promise.all([catalog.load(), live.refresh()]);
    } catch {
      shop.setConnection("offline");
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

/** Draw what the clock changes, at the moment at which the countdown's second changes. */
function everySecond() {
  updateFlows();
  draw();
  const { next } = shop;
  const left = next ? clock.secondsUntil(next.opens_at) * 1000 : 0;
  setTimeout(everySecond, left > 0 ? (left % 1000) + 5 : 1000);
}

function updateFlows() {
  const { shown } = shop;
  for (const flow of flows.values()) {
    const isHere = shown !== null && flow.item.saleId === shown.id;
    const isSold = isHere && shop.isSold(flow.item.id - shown.first_item_id);
    flow.update({ isSold, isSoldOut: isHere && shown.status === "sold_out" });
  }
}

// --- what can be done ---

async function choose(saleId) {
  if (!shop.saleById(saleId)) await live.loadSale(saleId);
  shop.choose(saleId);
  writeAddress();
  scrollTo({ top: 0 });
}

/** Open an item's sheet. The back button closes it, as on a phone it should. */
async function open(itemId) {
  myItems.hide();
  const flow = await flowOf(itemId);
  if (!flow) return;
  if (history.state?.itemId !== itemId) history.pushState({ itemId }, "", `#item-${itemId}`);
  sheet.show(flow);
}

function close() {
  if (history.state?.itemId !== undefined) history.back();
  else leaveItem();
}

function leaveItem() {
  const itemId = sheet.flow?.item.id;
  if (itemId === undefined) return;
  sheet.hide();
  const flow = flows.get(itemId);
  if (!flow.isBusy && flow.step !== "ticket") flows.delete(itemId);
  hall.focus(itemId);
}

function similar(itemId) {
  const { kind } = catalog.describe(itemId);
  close();
  filters.clear();
  filters.set({ kind, hidesSold: true });
}

function showMine() {
  if (sheet.flow) close();
  myItems.show();
}

function changeName() {
  buyerDialog.show();
}

async function flowOf(itemId) {
  if (!flows.has(itemId)) {
    const item = await itemOf(itemId);
    if (item === null) return null;
    const flow = new PurchaseFlow(client, wallet, catalog.codeSeconds, item);
    flows.set(itemId, flow);
    flow.addEventListener("change", draw);
    flow.addEventListener("step", () => onStep(flow));
    flow.addEventListener("change", () => flow.retry && announce(waitingWords(flow)));
    updateFlows();
  }
  return flows.get(itemId);
}

/** The item with its sale; null if there is none. */
async function itemOf(itemId) {
  const { shown } = shop;
  const known = wallet.purchaseOf(itemId) ?? wallet.ticketOf(itemId);
  const image = `/items/${itemId}/image.svg`;
  if (known) return { id: itemId, name: known.name, image, saleId: known.saleId };
  if (shown && itemId >= shown.first_item_id && itemId < shown.first_item_id + shown.stock) {
    await catalog.loadNames(itemId, 1);
    return { id: itemId, name: catalog.describe(itemId).name, image, saleId: shown.id };
  }
  try {
    const item = await client.item(itemId);
    return { id: item.id, name: item.name, image: item.image, saleId: item.sale_id };
  } catch {
    return null;
  }
}

function onStep(flow) {
  const { name } = flow.item;
  if (flow.step === "ticket") announce(spoken.checkedOut(name));
  if (flow.step === "receipt") announce(spoken.bought(name));
  if (flow.step === "refused") {
    const { title, reason } = sheet.wordsOf(flow);
    announce(spoken.refused(title, reason));
  }
  if (sheet.flow !== flow) return;
  sheet.draw();
  sheet.focusAction();
}

function waitingWords({ retry }) {
  const seconds = Math.ceil((retry.until - performance.now()) / 1000);
  return (waiting[retry.code] ?? waiting.other)(format.duration(seconds));
}

function onKey(event) {
  const isTyping = event.target.closest?.("input, dialog");
  if (event.key === "/" && !isTyping) {
    event.preventDefault();
    filters.focus();
  }
}

// --- the address ---

async function chooseAddressedSale() {
  const asked = Number(new URLSearchParams(location.search).get("sale"));
  if (Number.isSafeInteger(asked) && asked > 0) await choose(asked).catch(() => undefined);
}

function showAddressedItem() {
  const [, itemId] = /^#item-(\d{1,15})$/.exec(location.hash) ?? [];
  if (itemId === undefined) leaveItem();
  else open(Number(itemId));
}

function writeAddress() {
  const parameters = new URLSearchParams(location.search);
  if (shop.follows) parameters.delete("sale");
  else parameters.set("sale", shop.shown.id);
  filters.write(parameters);
  const query = parameters.size ? `?${parameters}` : "";
  history.replaceState(history.state, "", `${location.pathname}${query}${location.hash}`);
}

/** Forget what a service of another beginning has sold, and learn of what was bought as the page was closed. */
async function checkReceipts() {
  for (const { code } of wallet.purchases.slice(0, RECEIPTS_CHECKED_MAX)) {
    const isGone = await client.receipt(code, { patienceSeconds: 0 }).then(
      (receipt) => receipt === null,
      (error) => error.code === "invalid_code",
    );
    if (isGone) wallet.forget(code);
  }
  for (const ticket of wallet.tickets) {
    if (ticket.isSent && ticket.buyer === wallet.buyer) await flowOf(ticket.itemId);
    else if (ticket.expiresAt < clock.now()) wallet.dropTicket(ticket.code);
  }
}
