"""A service that runs already, at `--url`: its open sales and its own counts, over its public HTTP alone.

Others may be buying there too, so counts may be larger than what our buyers heard of, but never smaller.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import orjson
import trio

from benchmarks.load.messages import Address
from benchmarks.oracle import Counts, OpenSale
from flash.errors import OperatorError
from flash.testing.client import Answer, Client, ConnectionLost

_PAGE = 100


class ExternalTarget:
    """Takes the place of the `Oracle`. Raises `OperatorError` if the address does not answer as this service does."""

    is_alone = False

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.address: Address = (parts.hostname, parts.port)
        self._url = url

    async def check(self) -> None:
        await self._get("/health")

    async def open_sale(self, size: int) -> OpenSale | None:
        """The open sale with the most items left, whatever their number; None if there is none."""
        sales = [
            sale for sale in (await self._get(f"/sales?limit={_PAGE}")).json()["sales"] if sale["status"] == "open"
        ]
        if not sales:
            return None
        sale = max(sales, key=lambda found: int(found["remaining"]))
        if not sale["sold"]:
            return OpenSale(sale["id"], range(sale["first_item_id"], sale["first_item_id"] + sale["stock"]))
        items: list[int] = []
        after: int | None = 0
        while after is not None:
            path = f"/sales/{sale['id']}/items?available=true&limit={_PAGE}&after={after}"
            page = (await self._get(path)).json()
            items += [item["id"] for item in page["items"]]
            after = page["next"]
        return OpenSale(sale["id"], items, sale["sold"])

    async def count(self, sale: OpenSale) -> tuple[Counts, list[str]]:
        """The service's own count; promises are the audit's business."""
        found = (await self._get(f"/sales/{sale.id}")).json()
        return Counts(found["sold"], found["sold"], found["stock"]), []

    async def _get(self, path: str) -> Answer:
        try:
            with trio.fail_after(10):
                async with Client(self._url) as client:
                    answer = await client.get(path)
            answer.json()
        except (OSError, ConnectionLost, trio.TooSlowError, orjson.JSONDecodeError) as error:
            raise OperatorError(f"{self._url} does not answer as the flash service does: {error}") from error
        if answer.status != 200:
            raise OperatorError(f"{self._url}{path} answered {answer.status}: is this the flash service?")
        return answer
