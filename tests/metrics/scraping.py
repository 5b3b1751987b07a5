"""A page of metrics as Prometheus' parser reads it."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from flash.http.message import Header
from flash.testing.client import Client


class Scraped:
    def __init__(self, text: str) -> None:
        self.text = text
        self._families: list[Metric] = list(text_string_to_metric_families(text))

    @property
    def names(self) -> set[str]:
        """As they are written in queries, but without `_bucket`, `_sum` and `_count`."""
        return {family.name + "_total" * (family.type == "counter") for family in self._families}

    def sum(self, name: str, **labels: str) -> float:
        """Of all samples of that name with these labels."""
        samples = [sample for family in self._families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


async def scraped(client: Client, headers: Sequence[Header] = ()) -> Scraped:
    answer = await client.get("/metrics", list(headers))
    assert answer.status == 200, answer
    return Scraped(answer.body.decode())
