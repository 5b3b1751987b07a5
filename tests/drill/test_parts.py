"""What a drill is made of: which fault comes when, what buyers want, what is counted, and what is written down."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from drill import edn, options
from drill.faults import FAULTS, GROUPS
from drill.injector import Fault, plan
from drill.network import NAMESPACES
from drill.picture import draw
from drill.sampling import Sample
from drill.shelves import Shelves
from drill.verdict import Record, lines, resumed_late
from flash.errors import OperatorError
from flash.testing.history import Call
from tests.drill.test_checks import BOUGHT, purchase, stored


def test_a_round_has_every_chosen_fault_and_the_seed_decides_the_order() -> None:
    names = options.parse(["--faults", "leader,flush-redis:3"]).faults
    assert sorted(names) == sorted([*GROUPS["leader"], *["flush-redis"] * 3])

    def first(seed: int, rounds: int) -> list[str]:
        return [kind.name for (kind,) in islice(plan(names, seed, 1), rounds * len(names))]

    assert first(1, 2) == first(1, 2) != first(2, 2)
    assert sorted(first(5, 1)) == sorted(names)


def test_faults_at_once_have_different_targets() -> None:
    for together in islice(plan(list(FAULTS), 7, 3), 50):
        assert 1 <= len({kind.target for kind in together}) == len(together) <= 3


@pytest.mark.parametrize(
    "wrong", [["--faults", "meteor"], ["--seconds", "0"], ["--at-once", "9"], ["--url", "http://x"]]
)
def test_wrong_options_are_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        options.parse(wrong)
    assert exit.value.code == 2


def test_a_network_leaves_out_the_faults_that_it_cannot_have() -> None:
    chosen = options.parse(["--faults", "hang-connections,cut-leader-redis,kill-web"])
    assert options.left_out(chosen) == []
    chosen.network = NAMESPACES
    assert options.left_out(chosen) == ["hang-connections"]
    assert chosen.faults == ["cut-leader-redis", "kill-web"]


def test_a_file_that_could_not_be_written_is_refused_before_anything_starts() -> None:
    with pytest.raises(OperatorError, match="no directory"):
        options.parse(["--report", "/nowhere/at/all/drill.html"])


def test_buyers_want_every_item_of_the_oldest_sale_first_and_again_what_was_put_back() -> None:
    shelves = Shelves(Random(1))
    shelves.offer(2, 101, 100)
    shelves.offer(1, 1, 100)
    shelves.offer(1, 1, 100)
    taken = [shelves.take() for _ in range(130)]
    assert {wanted for wanted in taken if wanted is not None} == {(1, item) for item in range(1, 101)}
    shelves.put_back(1, 5)
    assert shelves.take() == (1, 5)
    last = shelves.take()
    assert last is not None
    assert last[0] == shelves.sale_id == 2


def record(*calls: Call, faults: tuple[Fault, ...] = (), idle_at: tuple[float, ...] = ()) -> Record:
    return Record(
        "scripts/drill", 1, 100.0, 110.0, 0.0, faults, calls, idle_at, {(1, 1): ["a"], (1, 2): ["b"]}, 1, 1, 0, 3
    )


def test_the_longest_gap_is_between_sales_or_at_an_end_and_not_where_nobody_wanted_anything() -> None:
    sold = [purchase(number, number, "ok", ended=100.0 + second) for number, second in ((1, 1), (2, 4), (3, 9))]
    assert record(*sold).longest_gap() == (5.0, 4.0)
    assert record(*sold, idle_at=(108.9,)).longest_gap() == (3.0, 1.0)
    assert record().longest_gap() == (10.0, 0.0)
    again = purchase(3, 3, "ok", ended=109.9)
    assert len(record(*sold, again).sale_times) == 3, "a repeated purchase is one sale"
    assert record().take_overs == 1


def test_a_fault_after_which_nothing_was_sold_is_a_finding_unless_nobody_wanted_anything() -> None:
    fault = Fault(FAULTS["flush-redis"], 101.0, healed=102.0, what="answered +OK")
    assert len(resumed_late([fault])) == 1
    fault.was_idle = True
    assert resumed_late([fault]) == []
    fault.resumed = 103.0
    assert resumed_late([fault]) == []


def test_the_verdict_names_what_is_wrong() -> None:
    found = record()
    found.checks = {"lost": [], "false refusals": ["this one"]}
    text = "\n".join(lines(found))
    assert not found.is_clean
    assert "NOT CLEAN" in text
    assert "this one" in text
    found.checks = {"lost": []}
    assert "clean: nothing contradicts" in "\n".join(lines(found))


def test_the_picture_has_every_fault_with_its_words_escaped() -> None:
    fault = Fault(FAULTS["kill-web"], 101.0, healed=102.0, what='web.1 <"&')
    svg = draw(record(purchase(1, 1, "ok", ended=103.0), faults=(fault, fault)))
    assert svg.count('class="fault web"') == 2
    assert "kill-web at 1.0 s: web.1 &lt;&quot;&amp;" in svg


def test_a_purchase_in_doubt_is_an_info_and_its_process_does_nothing_more() -> None:
    calls = [
        purchase(7, 3, "no_answer", ended=101.0),
        Call("purchase", code=purchase(7, 3, "").code, began=102.0, ended=103.0, outcome="ok"),
        Call("purchase", code=purchase(8, 3, "").code, began=104.0, ended=105.0, outcome="item_sold"),
    ]
    fault = Fault(FAULTS["flush-redis"], 100.5, healed=100.6, what='say "x"')
    assert list(edn.lines(calls, [fault], stored(BOUGHT), 100.0, 110.0)) == [
        "{:index 0, :time 0, :process 0, :type :invoke, :f :add, :value 7}",
        "{:index 1, :time 500000000, :process :nemesis, :type :info, :f :flush-redis, :value nil}",
        '{:index 2, :time 599999999, :process :nemesis, :type :info, :f :flush-redis, :value "say \\"x\\""}',
        "{:index 3, :time 1000000000, :process 0, :type :info, :f :add, :value 7, :error :no-answer}",
        "{:index 4, :time 2000000000, :process 1, :type :invoke, :f :add, :value 7}",
        "{:index 5, :time 3000000000, :process 1, :type :ok, :f :add, :value 7}",
        "{:index 6, :time 4000000000, :process 1, :type :invoke, :f :add, :value 8}",
        "{:index 7, :time 5000000000, :process 1, :type :fail, :f :add, :value 8, :error :item-sold}",
        "{:index 8, :time 10000000000, :process 2, :type :invoke, :f :read, :value nil}",
        "{:index 9, :time 10000000000, :process 2, :type :ok, :f :read, :value #{7}}",
    ]


def test_what_is_left_and_what_is_sold_are_two_accounts_that_hold_the_stock_together() -> None:
    samples = [Sample(101.0, 101.5, 1, 50, 20, 20), Sample(101.0, 101.5, 2, 50, 0, 0)]
    assert list(edn.bank(samples, 100.0)) == [
        "{:index 0, :time 1000000000, :process 0, :type :invoke, :f :read, :value nil}",
        "{:index 1, :time 1000000000, :process 1, :type :invoke, :f :read, :value nil}",
        "{:index 2, :time 1500000000, :process 0, :type :ok, :f :read, :value {0 30, 1 20}}",
        "{:index 3, :time 1500000000, :process 1, :type :ok, :f :read, :value {0 50, 1 0}}",
    ]
