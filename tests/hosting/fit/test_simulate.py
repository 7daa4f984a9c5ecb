from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mme_hosting.fit.simulate import che, play
from mme_hosting.fit.traffic import zipf, zipf_shares

traces = st.lists(st.integers(0, 9), max_size=80)
costs = st.lists(st.integers(1, 9), min_size=10, max_size=10)
ONES = [1] * 10


def slowly(trace: list[int], costs: list[int], capacity: int) -> int:
    """Hits of one instance, the models in a plain list from the least to the most recent."""
    loaded: list[int] = []
    hits = 0
    for model in trace:
        if model in loaded:
            hits += 1
            loaded.remove(model)
        elif costs[model] > capacity:
            continue
        while sum(costs[each] for each in loaded) + costs[model] > capacity:
            loaded.pop(0)
        loaded.append(model)
    return hits


@given(traces, costs, st.integers(0, 60))
def test_the_least_recently_used_goes_until_there_is_room(trace, costs, capacity) -> None:
    outcome = play(trace, costs, capacity)
    assert outcome.hits == slowly(trace, costs, capacity)
    assert outcome.requests == len(trace)


@given(traces, st.integers(1, 10), st.integers(1, 4))
def test_more_room_never_has_fewer_hits(trace, capacity, more) -> None:
    assert play(trace, ONES, capacity).hits <= play(trace, ONES, capacity + more).hits


@given(traces, st.integers(1, 5), st.integers(0, 9))
def test_where_all_fit_only_the_first_request_of_a_model_misses(trace, instances, seed) -> None:
    outcome = play(trace, ONES, 10, instances=instances, seed=seed)
    assert outcome.hits == len(trace) - len(set(trace))


@given(traces, costs, st.integers(0, 30), st.integers(1, 4), st.booleans(), st.integers(0, 80))
def test_requests_that_warm_up_are_not_counted(
    trace, costs, capacity, instances, sticky, warm
) -> None:
    fleet = {"instances": instances, "sticky": sticky}
    every = play(trace, costs, capacity, **fleet)
    first = play(trace[:warm], costs, capacity, **fleet)
    rest = play(trace, costs, capacity, warm=warm, **fleet)
    assert rest.hits == every.hits - first.hits
    assert rest.requests == max(len(trace) - warm, 0)


@given(traces, st.integers(1, 10))
def test_no_more_models_than_the_server_can_have(trace, most) -> None:
    assert play(trace, ONES, 1000, most=most) == play(trace, ONES, most)


def test_requests_that_go_where_their_model_is_share_the_memory_of_all() -> None:
    traffic = zipf(100, 0.8)
    one, sticky, spread = (
        play(traffic.trace, [1] * 100, 20, warm=traffic.warm, **fleet).ratio
        for fleet in ({}, {"instances": 4}, {"instances": 4, "sticky": False})
    )
    assert one == pytest.approx(spread, abs=0.02)
    assert sticky > one + 0.2


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.1, 1.5])
@pytest.mark.parametrize("capacity", [5, 50, 200])
def test_playing_and_the_formula_agree_within_two_points(exponent: float, capacity: int) -> None:
    traffic = zipf(500, exponent)
    played = play(traffic.trace, [1] * 500, capacity, warm=traffic.warm).ratio
    assert played == pytest.approx(che(zipf_shares(500, exponent).tolist(), capacity), abs=0.02)


@given(st.integers(1, 300), st.floats(0, 3), st.floats(0, 310))
def test_the_formula_is_a_share(models, exponent, capacity) -> None:
    ratio = che(zipf_shares(models, exponent).tolist(), capacity)
    assert 0 <= ratio <= 1
    if capacity >= models:
        assert ratio == 1


def test_two_hundred_thousand_requests_take_a_second_or_so() -> None:
    traffic = zipf(5000, 1.1)
    start = time.perf_counter()
    play(traffic.trace[:200_000], [1] * 5000, 500, instances=4)
    assert time.perf_counter() - start < 5
