"""The history as EDN, in the forms that Jepsen's `set` and `bank` checkers take.

A purchase is an `:add` of its checkout's number: `:ok` if its buyer heard so, `:fail` if it was refused or nothing was
done, `:info` if nobody knows. The last operation reads the whole table. Faults are operations of the `:nemesis`.
A process has one call at a time, and none after an `:info`, so processes are numbered here and are not the buyers.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from drill.injector import Fault
from drill.sampling import Sample
from flash.testing.history import UNKNOWN, Call
from flash.testing.stored import Stored


@dataclass(frozen=True, slots=True)
class _Operation:
    time: float
    process: int | str
    type: str
    f: str
    value: str
    error: str = ""


def lines(calls: Sequence[Call], faults: Sequence[Fault], stored: Stored, began: float, ended: float) -> Iterator[str]:
    """One line for each operation, in the order of their times, which are nanoseconds since `began`."""
    operations = [*_adds(calls, stored), *_nemesis(faults)]
    operations.sort(key=lambda operation: operation.time)
    table = "#{" + " ".join(str(id) for id in sorted(stored.purchases)) + "}"
    reader = 1 + max((o.process for o in operations if isinstance(o.process, int)), default=-1)
    operations += [_Operation(ended, reader, "invoke", "read", "nil"), _Operation(ended, reader, "ok", "read", table)]
    return _written(operations, began)


def bank(samples: Sequence[Sample], began: float) -> Iterator[str]:
    """What each look found of a sale, for Jepsen's `bank` checker.

    Account 0 holds what is left of the sale's stock, account 1 what was sold, as rows: together always the stock.
    """
    operations: list[_Operation] = []
    for _, look in itertools.groupby(samples, key=lambda sample: sample.began):
        found = list(look)
        operations += [_Operation(one.began, process, "invoke", "read", "nil") for process, one in enumerate(found)]
        for process, one in enumerate(found):
            balances = f"{{0 {one.stock - one.sold}, 1 {one.purchases}}}"
            operations.append(_Operation(one.ended, process, "ok", "read", balances))
    return _written(operations, began)


def _written(operations: Sequence[_Operation], began: float) -> Iterator[str]:
    for index, operation in enumerate(operations):
        error = f", :error :{operation.error}" if operation.error else ""
        process = operation.process if isinstance(operation.process, int) else f":{operation.process}"
        yield (
            f"{{:index {index}, :time {int((operation.time - began) * 1e9)}, :process {process}, "
            f":type :{operation.type}, :f :{operation.f}, :value {operation.value}{error}}}"
        )


def _adds(calls: Sequence[Call], stored: Stored) -> Iterator[_Operation]:
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    made = 0
    for call in sorted((call for call in calls if call.kind == "purchase"), key=lambda call: call.began):
        while busy and busy[0][0] < call.began:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if not free:
            heapq.heappush(free, made)
            made += 1
        process = heapq.heappop(free)
        value = str(stored.open(call.code).checkout_id)
        yield _Operation(call.began, process, "invoke", "add", value)
        if call.outcome == "ok":
            yield _Operation(call.ended, process, "ok", "add", value)
        else:
            kind = "info" if call.outcome in UNKNOWN else "fail"
            yield _Operation(call.ended, process, kind, "add", value, call.outcome.replace("_", "-"))
        if call.outcome not in UNKNOWN:
            heapq.heappush(busy, (call.ended, process))


def _nemesis(faults: Sequence[Fault]) -> Iterator[_Operation]:
    for fault in faults:
        yield _Operation(fault.began, "nemesis", "info", fault.kind.name, "nil")
        yield _Operation(fault.healed, "nemesis", "info", fault.kind.name, json.dumps(fault.what))
