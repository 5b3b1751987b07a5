/** What is said to people who cannot see what changes on the page: what matters, not each item that is sold. */

import { announce } from "./dom.js";
import { spoken, text } from "./strings.js";

/** Said when so few are left of a sale's stock, each once. */
const SHARES = [0.5, 0.25, 0.1, 0.01];

export function announceNews(shop) {
  let saleId = null;
  let said = 0;
  let connection = shop.connection;

  shop.addEventListener("soldout", ({ detail }) => announce(spoken.soldOut(detail.sale.id)));
  shop.addEventListener("opened", ({ detail }) => announce(spoken.opened(detail.sale.id, detail.sale.stock)));
  shop.addEventListener("change", () => {
    sayConnection();
    sayLeft();
  });

  function sayConnection() {
    if (shop.connection === connection) return;
    if (shop.connection === "offline") announce(text.offline);
    else if (connection === "offline") announce(text.backOnline);
    connection = shop.connection;
  }

  function sayLeft() {
    const sale = shop.shown;
    if (sale?.status !== "open") return;
    const reached = SHARES.filter((share) => sale.remaining <= share * sale.stock).length;
    if (sale.id === saleId && reached > said && sale.remaining) announce(spoken.left(sale.remaining));
    saleId = sale.id;
    said = reached;
  }
}
