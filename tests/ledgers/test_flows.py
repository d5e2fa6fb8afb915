"""Flows that share one quota: each gets its part, in order, and nothing is lost."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingbeat.ledgers.flows import WEIGHTS, FlowQueue, Flows

Name = int


def backlogged(weights: list[float], waiting: int = 1000) -> tuple[Flows[tuple[Name, int], float], list[FlowQueue]]:
    """Return flows in each of which many wait."""
    flows: Flows[tuple[Name, int], float] = Flows()
    queues = [flows.named(str(name), weight) for name, weight in enumerate(weights)]
    for number in range(waiting):
        for name, queue in enumerate(queues):
            flows.join(queue, (name, number), 1.0)
    return flows, queues


def serve(flows: Flows[tuple[Name, int], float], share: float = 1.0) -> tuple[Name, int]:
    """Serve whoever is next."""
    head = flows.head()
    assert head is not None
    return flows.serve(head, share)


@pytest.mark.parametrize(
    ("weights", "rounds", "expected"),
    [
        ([4.0], 3, [3]),
        ([1.0, 1.0], 100, [50, 50]),
        ([1.0, 2.0, 4.0], 700, [100, 200, 400]),
        ([8.0, 4.0, 1.0], 130, [80, 40, 10]),
        ([0.5, 1000.0], 2001, [1, 2000]),
    ],
)
def test_equal_requests_are_served_by_weight(weights: list[float], rounds: int, expected: list[int]) -> None:
    """Flows that all have something waiting are served in proportion to their weights."""
    flows, queues = backlogged(weights, waiting=2500)
    for _ in range(rounds):
        serve(flows)
    assert [queue.granted for queue in queues] == expected


def test_what_counts_is_the_share_and_not_the_number() -> None:
    """A flow whose requests are four times as large is served a quarter as often."""
    flows, queues = backlogged([1.0, 1.0])
    for _ in range(500):
        head = flows.head()
        assert head is not None
        flows.serve(head, 0.04 if head is queues[0] else 0.01)
    assert [queue.granted for queue in queues] == [100, 400]


def test_nothing_is_saved_up_while_idle() -> None:
    """A flow that was idle while another was served a thousand times takes turns with it from then on."""
    flows, (busy, idle) = backlogged([1.0, 1.0], waiting=0)
    for number in range(2000):
        flows.join(busy, (0, number), 1.0)
    for _ in range(1000):
        serve(flows)
    for number in range(1000):
        flows.join(idle, (1, number), 1.0)
    served = [serve(flows)[0] for _ in range(100)]
    assert served.count(1) in (50, 51)
    assert served[0] == 1


def test_nothing_is_saved_up_by_going_without_waiting() -> None:
    """Requests that went while nobody waited count neither for nor against a flow that comes later."""
    flows, (early, late) = backlogged([1.0, 1.0], waiting=0)
    for _ in range(1000):
        flows.charge(early, 1.0)
    for number in range(100):
        flows.join(early, (0, number), 1.0)
        flows.join(late, (1, number), 1.0)
    assert [serve(flows)[0] for _ in range(100)].count(1) in (50, 51)


def test_what_a_flow_has_had_is_remembered_when_it_comes_straight_back() -> None:
    """A flow that asks again only once it was served takes turns with a backlog, and does not go every time."""
    flows, (_backlog, returning) = backlogged([1.0, 1.0], waiting=0)
    for number in range(100):
        flows.join(flows.named("0"), (0, number), 1.0)
    served = []
    for number in range(100):
        if not returning.queue:
            flows.join(returning, (1, number), 1.0)
        served.append(serve(flows)[0])
    assert served.count(1) == 50


def test_a_new_weight_holds_from_the_next_request() -> None:
    """Naming a flow again with another weight changes its part from then on; without one, nothing."""
    flows, queues = backlogged([1.0, 1.0])
    for _ in range(100):
        serve(flows)
    assert flows.named("1", 3.0) is queues[1]
    assert flows.named("1").weight == 3.0
    before = [queue.granted for queue in queues]
    for _ in range(400):
        serve(flows)
    assert [queue.granted - was for queue, was in zip(queues, before, strict=True)] == [100, 300]


def test_a_flow_without_a_weight_is_a_normal_one() -> None:
    """A new flow has the weight of the priority ``normal``."""
    assert Flows().named("any").weight == WEIGHTS["normal"]


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_is_above_zero(weight: float) -> None:
    """A weight of zero or less would never be served, and is refused."""
    with pytest.raises(ValueError, match="above zero"):
        Flows().named("any", weight)


def test_a_difference_found_while_others_wait_is_settled() -> None:
    """A flow whose requests each took twice what was estimated gets half as many of them."""
    flows, queues = backlogged([1.0, 1.0])
    for _ in range(300):
        head = flows.head()
        assert head is not None
        flows.serve(head, 1.0)
        if head is queues[0]:
            flows.settle(head, 1.0)
    assert queues[0].granted == pytest.approx(100, abs=1)


@pytest.mark.parametrize(("difference", "first"), [(3.0, [1, 1, 1, 0]), (-1.0, [0, 1, 0, 1])])
def test_a_difference_found_while_idle_is_settled(difference: float, first: list[int]) -> None:
    """An idle flow that took more than estimated starts later for it; one that took less has saved nothing up."""
    flows, queues = backlogged([1.0, 1.0], waiting=0)
    flows.charge(queues[0], 1.0)
    flows.settle(queues[0], difference - 1.0)
    for number in range(10):
        for name, queue in enumerate(queues):
            flows.join(queue, (name, number), 1.0)
    assert [serve(flows)[0] for _ in range(4)] == first


def test_the_next_heads_come_in_the_order_of_their_turns() -> None:
    """Those behind the head are listed as they would be served, idle ones left out, and no more than asked for."""
    flows, queues = backlogged([float(weight) for weight in range(1, 41)], waiting=2)
    for _ in range(40):
        serve(flows)
    for name in (3, 30):
        for number in range(2):
            flows.withdraw(queues[name], (name, number))
    heads = flows.next_heads(100)
    starts = [queue.start for queue in heads]
    assert starts == sorted(starts)
    assert len(heads) == 37
    assert [queue.name for queue in flows.next_heads(16)] == [queue.name for queue in heads[:16]]
    assert flows.head() not in heads


def test_whoever_is_let_pass_is_charged() -> None:
    """A flow served before its turn is served so much less afterwards, and the one that was passed keeps its place."""
    flows, (head, passing) = backlogged([1.0, 1.0])
    for _ in range(10):
        flows.serve(passing, 1.0)
    assert [serve(flows)[0] for _ in range(10)] == [0] * 10
    assert [serve(flows)[0] for _ in range(10)].count(0) == 5
    assert (head.granted, passing.granted) == (15, 15)


shares = st.floats(0.001, 0.3)
some_weights = st.lists(st.sampled_from([0.5, 1.0, 2.0, 4.0, 8.0]), min_size=2, max_size=6)


@settings(max_examples=40)
@given(some_weights, st.lists(st.lists(shares, min_size=1, max_size=20), min_size=6, max_size=6), st.integers(1, 300))
def test_the_gap_between_two_waiting_flows_is_bounded(
    weights: list[float], sizes: list[list[float]], rounds: int
) -> None:
    """Over any time, what two flows got over their weights differs by no more than two of their largest requests."""
    flows, queues = backlogged(weights, waiting=rounds)
    got = [[0.0] for _ in queues]
    for _ in range(rounds):
        head = flows.head()
        assert head is not None
        name = queues.index(head)
        share = sizes[name][head.granted % len(sizes[name])]
        flows.serve(head, share)
        for other, history in enumerate(got):
            history.append(history[-1] + (share / weights[name] if other == name else 0.0))
    largest = max(max(size) / weight for size, weight in zip(sizes, weights, strict=False))
    for one in range(len(queues)):
        for other in range(one):
            gaps = [a - b for a, b in zip(got[one], got[other], strict=True)]
            assert max(gaps) - min(gaps) <= 2 * largest + 1e-9


operations = st.lists(
    st.tuples(
        st.sampled_from(["join", "join", "serve", "pass", "withdraw", "settle", "charge"]), st.integers(0, 4), shares
    ),
    max_size=200,
)


@given(operations)
def test_everyone_is_served_once_in_the_order_of_its_flow(steps: list[tuple[str, int, float]]) -> None:
    """Whatever happens, someone is served while anyone waits, each once, and in its flow's order; none is lost."""
    flows: Flows[int, float] = Flows()
    model: dict[int, list[int]] = defaultdict(list)
    queues = [flows.named(str(name), 1.0 + name) for name in range(5)]
    joined = 0

    def check(queue: FlowQueue, waiter: int) -> None:
        assert model[queues.index(queue)].pop(0) == waiter

    for what, name, amount in steps:
        queue = queues[name]
        if what == "join":
            assert flows.join(queue, joined, amount) == (not model[name])
            model[name].append(joined)
            joined += 1
        elif what == "serve" and (head := flows.head()) is not None:
            check(head, flows.serve(head, head.first[1]))
        elif what == "pass" and flows.head() is not None:
            for passing in flows.next_heads(1):
                check(passing, flows.serve(passing, amount))
        elif what == "withdraw" and model[name]:
            at = int(amount * 1000) % len(model[name])
            assert flows.withdraw(queue, model[name][at]) == (at == 0)
            gone = model[name].pop(at)
            assert not flows.withdraw(queue, gone)
        elif what == "settle":
            flows.settle(queue, amount - 0.15)
        elif what == "charge" and not flows.waiting:
            flows.charge(queue, amount)
        assert flows.waiting == sum(map(len, model.values()))
        assert (flows.head() is None) == (flows.waiting == 0)
        assert [state.waiting for state in flows.states] == [len(model[name]) for name in range(5)]
    while (head := flows.head()) is not None:
        check(head, flows.serve(head, 0.01))
    assert not any(model.values())
