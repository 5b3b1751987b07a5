"""Problems that several API modules answer with. One that only a single module needs stays in that module."""

from __future__ import annotations

from flash.http.problems import problem

SALE_NOT_FOUND = problem(404, "sale_not_found", "There is no such sale")
ITEM_NOT_FOUND = problem(404, "item_not_found", "There is no such item")
ITEM_SOLD = problem(409, "item_sold", "The item has been sold")
SOLD_OUT = problem(410, "sold_out", "The sale is sold out")
