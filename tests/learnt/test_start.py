"""What a run starts with, given what is kept of its route."""

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingbeat.learnt import (
    IN_FLIGHT,
    MOST_ROUTES,
    KnownLimit,
    KnownRoute,
    RouteId,
    Trust,
    known,
    merged,
    pruned,
    service_host,
    start_of,
    trust,
)
from wingbeat.ledgers.limits import DEFAULT_CONCURRENCY, Limits
from wingbeat.model.limit import DAY_S, MINUTE_S, LearntLimit

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
ROUTE = RouteId("gemini", "api.example", "0123456789ab", "gemini-2.5-flash")


def learnt(limit: float, resource: str = "requests", *, days: float = 0, origin: str = "told") -> KnownLimit:
    """A limit a minute that was learnt so many days ago."""
    at = NOW - datetime.timedelta(days=days)
    return known(LearntLimit(resource, limit, MINUTE_S, "window", origin), at)  # type: ignore[arg-type]


def route(*limits: KnownLimit) -> KnownRoute:
    """The route with its limits."""
    return KnownRoute(ROUTE, limits)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (-3, Trust.FRESH),
        (0, Trust.FRESH),
        (0.99, Trust.FRESH),
        (1, Trust.OLD),
        (30, Trust.OLD),
        (30.01, Trust.STALE),
        (4000, Trust.STALE),
    ],
)
def test_trust_falls_with_age(days: float, expected: Trust):
    """A limit is fresh for a day, old for thirty, and stale after; one from the future counts as just learnt."""
    assert trust(NOW - datetime.timedelta(days=days), NOW) is expected


@pytest.mark.parametrize(("days", "started_at"), [(0, [1000.0]), (2, [500.0]), (31, [])])
def test_the_start_is_a_part_of_what_was_learnt(days: float, started_at: list[float]):
    """A run starts from a fresh limit, at half of an old one, and without a stale one."""
    start = start_of(route(learnt(1000, days=days)), Limits(), NOW)
    assert [limit.limit for limit in start.learnt] == started_at
    assert all((limit.enforcement, limit.origin) == ("window", "told") for limit in start.learnt)


def test_what_the_user_set_completes_what_is_given():
    """Limits set for the route hold like given ones, at any age; a given one wins over a set one."""
    kept = route(
        learnt(1000, origin="user", days=400),
        learnt(5e6, "input_tokens", origin="user"),
        known(LearntLimit("requests", 9000, DAY_S, origin="user"), NOW),
        known(LearntLimit(IN_FLIGHT, 7, origin="user"), NOW),
    )
    start = start_of(kept, Limits(tpm=1e6), NOW)
    assert start.limits == Limits(rpm=1000, tpm=1e6, rpd=9000, concurrency=7)
    assert "input_tokens" not in [limit.resource for limit in start.basis]


@pytest.mark.parametrize(
    ("rpm", "days", "started_at"),
    [
        (2000, 0, [1000.0]),  # below the ceiling: the service has said so today
        (1000, 0, []),  # the ceiling holds anyway
        (500, 0, []),
        (2000, 2, []),  # the user has said more since, or knows better
    ],
)
def test_what_is_given_is_a_ceiling(rpm: float, days: float, started_at: list[float]):
    """Beside a given limit only a fresh and lower learnt one counts."""
    start = start_of(route(learnt(1000, days=days)), Limits(rpm=rpm), NOW)
    assert [limit.limit for limit in start.learnt] == started_at
    assert start.limits == Limits(rpm=rpm)


def test_a_fresh_start_ignores_what_was_learnt_only():
    """A fresh start keeps to what the user has set."""
    kept = route(learnt(1000, origin="user"), learnt(300), learnt(1e6, "tokens"))
    start = start_of(kept, Limits(), NOW, fresh=True)
    assert (start.limits.rpm, start.learnt) == (1000, ())


def test_a_learnt_limit_has_room_in_flight():
    """As many may be in flight as if the learnt requests a minute had been given, and never fewer than by default."""
    assert start_of(route(learnt(1000, days=2)), Limits(), NOW).limits.most_in_flight == 1000
    assert start_of(route(learnt(5)), Limits(), NOW).limits.most_in_flight == DEFAULT_CONCURRENCY
    assert start_of(route(learnt(1000)), Limits(concurrency=3), NOW).limits.most_in_flight == 3


@pytest.mark.parametrize(("days", "in_flight"), [(0, 60), (29, 60), (31, None)])
def test_what_is_good_in_flight_is_found_again_from_half(days: float, in_flight: int | None):
    """Requests in flight that were found good are started at half of, unless they are given or a rate is known."""
    found = learnt(120, IN_FLIGHT, days=days)
    assert start_of(route(found), Limits(), NOW).in_flight == in_flight
    assert start_of(route(found), Limits(most_concurrency=100), NOW).in_flight in (50, None)
    for kept, limits in (
        (route(found), Limits(concurrency=200)),
        (route(found), Limits(rpm=1000)),
        (route(found, learnt(1000)), Limits()),
        (route(found, known(LearntLimit(IN_FLIGHT, 7, origin="user"), NOW)), Limits()),
    ):
        start = start_of(kept, limits, NOW)
        assert start.in_flight is None
        assert found not in start.basis
    assert start_of(route(found), Limits(), NOW, fresh=True).in_flight is None


def test_an_untried_start_is_no_news():
    """What comes back as it was begun with is not learnt, or an old limit would be halved at each run."""
    start = start_of(route(learnt(1000, days=2)), Limits(), NOW)
    assert not any(map(start.is_news, start.learnt))
    assert start.is_news(LearntLimit("requests", 700))
    assert not start.is_news(LearntLimit("requests", 700, origin="user"))


def test_a_rate_is_a_rate_over_any_window():
    """A rate learnt over another window replaces the one before, and is compared by the minute."""
    second = known(LearntLimit("requests", 10, 1.0, origin="headers"), NOW)
    kept = merged([route(learnt(1000), second)], ROUTE, [learnt(300, origin="user")])[0]
    assert [limit.limit for limit in kept.limits] == [300, 10]
    start = start_of(route(second), Limits(), NOW)
    assert [limit.limit for limit in start.learnt] == [10]
    assert start.limits.most_in_flight == 600
    assert not start.is_news(LearntLimit("requests", 600))
    assert start_of(route(second), Limits(rpm=600), NOW).learnt == ()


def test_a_days_amount_starts_nothing():
    """What was learnt of a day's quota is kept and shown, but no run is paced by it."""
    day = known(LearntLimit("requests", 1000, DAY_S, origin="told"), NOW)
    assert start_of(route(day, learnt(60)), Limits(), NOW).learnt == (learnt(60).learnt(),)


def test_a_learnt_limit_replaces_a_learnt_one_only():
    """Learnt and set limits of the same resource are kept side by side; other routes are untouched."""
    other = KnownRoute(RouteId("gemini", "api.example", "", "other"), (learnt(1),))
    before = (other, route(learnt(1000, origin="user"), learnt(300)))
    after = merged(before, ROUTE, [learnt(400, origin="measured"), learnt(1e6, "input_tokens")])
    assert after == (
        other,
        route(learnt(1000, origin="user"), learnt(400, origin="measured"), learnt(1e6, "input_tokens")),
    )


_LIMITS = st.lists(
    st.builds(
        learnt,
        st.floats(1, 1e9),
        st.sampled_from(["requests", "input_tokens", "tokens", "images"]),
        days=st.floats(0, 900),
        origin=st.sampled_from(["user", "told", "headers", "measured"]),
    ),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(st.lists(_LIMITS, max_size=4))
def test_a_route_has_one_limit_of_each_sort(writes: list[list[KnownLimit]]):
    """Whatever is kept in whatever order, there is one learnt and one set limit of a resource: the last."""
    routes: tuple[KnownRoute, ...] = ()
    last = {}
    for limits in writes:
        routes = merged(routes, ROUTE, limits)
        last.update(((limit.origin == "user", limit.resource), limit) for limit in limits)
    kept = [limit for each in routes for limit in each.limits]
    assert len(kept) == len(last)
    assert set(map(id, kept)) == set(map(id, last.values()))


@settings(max_examples=30, deadline=None)
@given(_LIMITS, st.builds(Limits, rpm=st.none() | st.floats(1, 1e6), tpm=st.none() | st.floats(1, 1e9)))
def test_a_start_never_passes_a_ceiling(limits: list[KnownLimit], given_limits: Limits):
    """No start lies above what was given, and what was given is never changed."""
    kept = merged((), ROUTE, limits)
    start = start_of(kept[0] if kept else None, given_limits, NOW)
    for name in ("rpm", "tpm"):
        before = getattr(given_limits, name)
        assert before is None or getattr(start.limits, name) == before
    ceilings = {"requests": start.limits.rpm, "input_tokens": start.limits.tpm}
    for limit in start.learnt:
        ceiling = ceilings.get(limit.resource)
        assert ceiling is None or limit.limit < ceiling


def test_the_oldest_go_first():
    """What was learnt a year ago and the oldest of too many routes are dropped; what the user set stays."""

    def one(number: int, limit: KnownLimit) -> KnownRoute:
        return KnownRoute(RouteId("gemini", f"localhost:{number}", "", "m"), (limit,))

    ancient, set_long_ago = one(1, learnt(1, days=365)), one(2, learnt(1, days=3650, origin="user"))
    many = [one(1000 + number, learnt(1, days=number / 10)) for number in range(MOST_ROUTES + 5)]
    assert pruned([ancient, set_long_ago, *many], NOW) == (set_long_ago, *many[:MOST_ROUTES])


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://API.Example/v1", "api.example"),
        ("https://api.example:443", "api.example"),
        ("http://api.example:443", "api.example:443"),
        ("http://user:secret@localhost:8080/x?key=secret", "localhost:8080"),
        ("http://[::1]:80/", "[::1]"),
    ],
)
def test_a_host_holds_no_secret(url: str, host: str):
    """A route's host is the URL's host and its unusual port, without user, password, path or query."""
    assert service_host(url) == host
