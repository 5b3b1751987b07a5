"""The JavaScript client by itself, with answers that a test makes up."""

from __future__ import annotations

from tests.browser.conftest import Visitors

LISTEN = """
async (answers) => {
  const { FlashClient } = await import("/pages/storefront/flash-client.js");
  const leaving = new AbortController();
  const asked = [], sold = [];
  const fetch = async (_url, { headers }) => {
    asked.push(headers["Last-Event-ID"] ?? null);
    const answer = answers.shift();
    if (answer === undefined) {
      leaving.abort();
      throw new Error("enough");
    }
    return new Response(answer);
  };
  const onItemSold = ({ items }) => sold.push(...items);
  await new FlashClient("", { fetch }).events({ signal: leaving.signal, onItemSold });
  return { asked, sold };
}
"""


def event(number: int, item: int) -> str:
    return f'event: item_sold\nid: log-{number}\ndata: {{"items":[{item}]}}\n\n'


def test_an_event_that_was_cut_off_is_asked_for_again(visitors: Visitors) -> None:
    whole, cut = event(1, 11), event(2, 12)
    answers = ["retry: 1\n\n" + whole + cut[: cut.index("data:")], cut + event(3, 13)]
    heard = visitors.visit("/docs").evaluate(LISTEN, answers)
    assert heard == {"asked": [None, "log-1", "log-3"], "sold": [11, 12, 13]}
