"""Who goes next when several flows of requests share one quota: shares and weights, and neither time nor limits."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Literal, TypeVar

import msgspec

Priority = Literal["interactive", "normal", "batch"]
"""A weight by name."""

WEIGHTS: dict[Priority, float] = {"interactive": 8.0, "normal": 4.0, "batch": 1.0}
"""Weights, and not ranks: whoever waits for an answer gets eight times what a backlog gets, and the backlog goes on."""

DEFAULT_FLOW = "default"
"""The flow of all requests that are given no other."""

Waiter = TypeVar("Waiter", bound=Hashable)
Wanted = TypeVar("Wanted")


class FlowState(msgspec.Struct, frozen=True):
    """
    One flow of requests, as it is now.

    Args:
        name: What the flow is called.
        weight: Its part of the quota, relative to the weights of the others that have something to send.
        waiting: Requests that wait to be sent.
        granted: Requests that could be sent so far.
    """

    name: str
    weight: float
    waiting: int
    granted: int


class FlowQueue(Generic[Waiter, Wanted]):
    """
    Waiters of one kind, first come first served, each with what it wants. `Flows` alone changes it.

    Attributes:
        start: Virtual time at which the flow's next request starts.
        owed: What replies took beyond the estimate, to be charged with the next grant; below zero it is given back.
        is_listed: Whether the flow stands in the order of those that have something to send.
    """

    __slots__ = ("granted", "is_listed", "name", "owed", "queue", "start", "weight")

    def __init__(self, name: str, weight: float) -> None:
        self.name = name
        self.weight = weight
        self.granted = 0
        self.queue: OrderedDict[Waiter, Wanted] = OrderedDict()
        self.start = 0.0
        self.owed = 0.0
        self.is_listed = False

    def __repr__(self) -> str:
        return f"<Flow {self.name} of weight {self.weight:g}, {len(self.queue)} waiting, {self.granted} granted>"

    @property
    def first(self) -> tuple[Waiter, Wanted]:
        """Whoever has waited longest, and what it wants; only while someone waits."""
        return next(iter(self.queue.items()))

    @property
    def state(self) -> FlowState:
        """The flow as a value."""
        return FlowState(self.name, self.weight, len(self.queue), self.granted)


class Flows(Generic[Waiter, Wanted]):
    """
    Serve flows in proportion to their weights, and each of them first come first served.

    This is start-time fair queueing. Each flow has a virtual time, which a request moves on by its share of the quota
    over the flow's weight; the flow with the least goes next. So

    - between two flows that both have something waiting, what one got over its weight and what the other got over its
      own differ by no more than two of their largest requests, over their weights;
    - every flow is served, whatever the weights: those that are served fall back behind those that are not;
    - a flow that comes back from idleness starts where the others are. It has saved nothing up, and lost nothing.

    Attributes:
        waiting: How many wait, in all flows.
        heaviest: The largest weight of all flows.
        is_shared: True once there is more than one flow, so that shares matter.

    Choosing and serving take time in the logarithm of the number of flows that wait, whatever the number of waiters.

    Source: P. Goyal, H. Vin, H. Cheng, "Start-time Fair Queueing", IEEE/ACM Transactions on Networking 5(5), 1997.
    """

    __slots__ = ("_by_name", "_count", "_order", "_virtual_time", "heaviest", "is_shared", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self.heaviest = 0.0
        self.is_shared = False
        self._by_name: dict[str, FlowQueue[Waiter, Wanted]] = {}
        self._order: list[tuple[float, int, FlowQueue[Waiter, Wanted]]] = []
        self._count = 0
        self._virtual_time = 0.0

    def __repr__(self) -> str:
        return f"<Flows {', '.join(map(repr, self._by_name.values()))}>"

    @property
    def states(self) -> tuple[FlowState, ...]:
        """All flows, in the order in which they were named."""
        return tuple(flow.state for flow in self._by_name.values())

    def named(self, name: str, weight: float | None = None) -> FlowQueue[Waiter, Wanted]:
        """
        Return the flow of a name; it is made when there is none yet.

        Args:
            name: Any text.
            weight: Above zero. None keeps that of an existing flow; a new one has `WEIGHTS` of ``normal``.

        Raises:
            ValueError: The weight is not above zero.
        """
        if weight is not None and not 0 < weight < float("inf"):
            raise ValueError(f"the weight of flow {name!r} must be above zero, not {weight!r}")
        flow = self._by_name.get(name)
        if flow is None:
            flow = self._by_name[name] = FlowQueue(name, WEIGHTS["normal"] if weight is None else weight)
        elif weight is None or weight == flow.weight:
            return flow
        else:
            flow.weight = weight
        self.is_shared = len(self._by_name) > 1
        self.heaviest = max(flow.weight for flow in self._by_name.values())
        return flow

    def join(self, flow: FlowQueue[Waiter, Wanted], waiter: Waiter, wanted: Wanted) -> bool:
        """Let someone wait at the end of a flow; True when nobody waits before it there."""
        is_first = not flow.queue
        flow.queue[waiter] = wanted
        self.waiting += 1
        if is_first:
            flow.start = max(flow.start, self._virtual_time)
            if not flow.is_listed:
                flow.is_listed = True
                self._count += 1
                heapq.heappush(self._order, (flow.start, self._count, flow))
        return is_first

    def withdraw(self, flow: FlowQueue[Waiter, Wanted], waiter: Waiter) -> bool:
        """Take out someone who waits no more, if it is still there; True when it stood first in its flow."""
        if waiter not in flow.queue:
            return False
        was_first = flow.first[0] is waiter
        del flow.queue[waiter]
        self.waiting -= 1
        return was_first

    def head(self) -> FlowQueue[Waiter, Wanted] | None:
        """Return the flow that is to be served next, or None when nobody waits."""
        order = self._order
        while order:
            start, _, flow = order[0]
            if not flow.queue:
                heapq.heappop(order)
                self._unlist(flow)
            elif start != flow.start:  # it was served out of turn since it was put here
                self._requeue(flow)
            else:
                return flow
        return None

    def next_heads(self, most: int) -> list[FlowQueue[Waiter, Wanted]]:
        """Return those flows that come after `head`, at most so many, in their order."""
        order = self._order
        found: list[FlowQueue[Waiter, Wanted]] = []
        # The order is a heap: what follows an entry lies among its two children and what was passed over before.
        frontier = [(order[at][:2], at) for at in (1, 2) if at < len(order)]
        heapq.heapify(frontier)
        while frontier and len(found) < most:
            _, at = heapq.heappop(frontier)
            if order[at][2].queue:
                found.append(order[at][2])
            for child in (2 * at + 1, 2 * at + 2):
                if child < len(order):
                    heapq.heappush(frontier, (order[child][:2], child))
        return found

    def serve(self, flow: FlowQueue[Waiter, Wanted], share: float) -> Waiter:
        """
        Take the first waiter of a flow out, and charge the flow.

        Args:
            flow: `head`, or one of `next_heads` that is let pass.
            share: The part of the quota that the request takes; above zero, unless there is no other flow.
        """
        waiter, _ = flow.queue.popitem(last=False)
        self.waiting -= 1
        flow.granted += 1
        if self._order[0][2] is not flow:
            flow.start += share / flow.weight
            return waiter
        self._virtual_time = max(self._virtual_time, flow.start)
        if charged := share + flow.owed:
            flow.start += charged / flow.weight
            flow.owed = 0.0
        if not flow.queue:
            heapq.heappop(self._order)
            flow.is_listed = False
        elif charged:
            self._requeue(flow)
        return waiter

    def charge(self, flow: FlowQueue[Waiter, Wanted], share: float) -> None:
        """Charge a flow for a request that went without waiting, as nobody waited anywhere."""
        flow.granted += 1
        self._virtual_time = max(self._virtual_time, flow.start)
        flow.start = self._virtual_time + share / flow.weight

    def settle(self, flow: FlowQueue[Waiter, Wanted], difference: float) -> None:
        """Charge a flow for what a request took beyond the share it was granted; below zero, give it back."""
        if flow.is_listed:
            # Its place in the order holds until it is served next.
            flow.owed += difference
        else:
            flow.start += difference / flow.weight

    def _requeue(self, flow: FlowQueue[Waiter, Wanted]) -> None:
        self._count += 1
        heapq.heapreplace(self._order, (flow.start, self._count, flow))

    @staticmethod
    def _unlist(flow: FlowQueue[Waiter, Wanted]) -> None:
        flow.is_listed = False
        flow.start += flow.owed / flow.weight
        flow.owed = 0.0
