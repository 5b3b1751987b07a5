"""A shop on another site: its pages use the JavaScript client from where FLASH_CORS_ORIGINS lets them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser

from tests.browser.service import Service

PAGE = b"<!doctype html><title>Another shop</title>"
BUYING = """
async ([url, itemId]) => {
  const { FlashClient, Problem } = await import(`${url}/pages/storefront/flash-client.js`);
  const shop = new FlashClient(url);
  const sale = await shop.currentSale();
  const told = [];
  const listening = new AbortController();
  const isConnected = new Promise((resolve) => {
    shop.events({ signal: listening.signal, onState: resolve, onItemSold: (event) => told.push(...event.items) });
  });
  await isConnected;
  const code = await shop.checkout("zoë", itemId);
  const before = await shop.receipt(code);
  const receipt = await shop.purchase(code);
  const again = await shop.purchase(code).catch((error) => error);
  const isSold = async () => (await shop.soldItems(sale.id)).flags[itemId - sale.first_item_id] === 1;
  while (!told.includes(itemId) || !(await isSold())) await new Promise((resolve) => setTimeout(resolve, 20));
  listening.abort();
  return {
    before,
    bought: receipt.item.id,
    user: receipt.user_id,
    kept: (await shop.receipt(code)).item.id,
    refusal: [again instanceof Problem, again.code, again.status, again.body.purchase.item.id],
  };
}
"""


@pytest.fixture
def other_site() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_page_of_another_site_buys_and_watches_with_the_client(
    browser: Browser, hour: Service, other_site: str
) -> None:
    page = browser.new_page()
    page.goto(other_site)
    item_id = hour.sale()["first_item_id"] + 777
    told = page.evaluate(BUYING, [hour.url, item_id])
    assert told == {
        "before": None,
        "bought": item_id,
        "user": "zoë",
        "kept": item_id,
        "refusal": [True, "code_already_used", 409, item_id],
    }
    page.close()
