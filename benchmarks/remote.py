"""A service that runs already, at `--url`: its open sales and its own counts, over its public HTTP alone."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from flash.errors import OperatorError

_PAGE = 100


class Remote:
    """Asks one loopback address. Raises `OperatorError` if it does not answer as this service does."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.address = (parts.hostname, parts.port)
        self._url = url

    def open_sale(self) -> dict[str, Any] | None:
        """An open sale and the ranges of its items that are still there; None if there is none."""
        sales = [sale for sale in self.get(f"/sales?limit={_PAGE}")["sales"] if sale["status"] == "open"]
        if not sales:
            return None
        sale = max(sales, key=lambda found: found["remaining"])
        return {"sale": sale["id"], "sold_before": sale["sold"], "ranges": self._ranges(sale)}

    def sold(self, sale_id: int) -> dict[str, int]:
        """The service's own count of a sale."""
        sale = self.get(f"/sales/{sale_id}")
        return {"sold": sale["sold"], "stock": sale["stock"]}

    def _ranges(self, sale: dict[str, Any]) -> list[tuple[int, int]]:
        if not sale["sold"]:
            return [(sale["first_item_id"], sale["stock"])]
        ranges: list[tuple[int, int]] = []
        after: int | None = 0
        while after is not None:
            page = self.get(f"/sales/{sale['id']}/items?available=true&limit={_PAGE}&after={after}")
            ranges += [(item["id"], 1) for item in page["items"]]
            after = page["next"]
        return ranges

    def get(self, path: str) -> Any:
        connection = http.client.HTTPConnection(*self.address, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise OperatorError(f"{self._url}{path} answered {answer.status}: is this the flash service?")
            return json.loads(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise OperatorError(f"{self._url} does not answer as the flash service does: {error}") from error
        finally:
            connection.close()
