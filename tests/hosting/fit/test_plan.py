"""Capacity, plan and notes: all that is reckoned from measurements."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mme_handler.errors import OutOfMemoryError
from mme_handler.models.memory import Budget
from mme_hosting.errors import HostingError
from mme_hosting.fit import plan
from mme_hosting.fit.archives import Packed
from mme_hosting.fit.capacity import MOST_MODELS, Assumptions, cost, fitting, room
from mme_hosting.fit.instances import GIB, InstanceType, table
from mme_hosting.fit.line import Line
from mme_hosting.fit.measure import Invocations, Kind, Measured
from mme_hosting.fit.notes import notes
from mme_hosting.fit.plan import Row, Wanted
from mme_hosting.fit.traffic import Traffic, zipf

ASSUMED = Assumptions()
MB = 10**6


def kind(fixed: float, load_cpu: float = 0.02, archives: int = 10) -> Kind:
    memory, charge = Line(fixed, 1.0, 0, 10), Line(fixed, 1.4, 0, 10)
    return Kind(archives, memory, charge, (0.01, 0.02), load_cpu)


def measured(
    kinds: Mapping[str, Kind] = {"plain": kind(560_000)},
    cpu: float | None = 0.001,
    sizes: Mapping[str, tuple[str, int]] = {"0.tar.gz": ("plain", 50_000)},
) -> Measured:
    asked = None if cpu is None else Invocations(100, (0.001, 0.002), cpu)
    return Measured(300 * MB, 5 * MB, kinds, sizes, 2.0, asked, {})


def rows(
    traffic: Traffic, wanted: Wanted, costs: list[int], *names: str, found: Measured | None = None
) -> list[Row]:
    types = [table()[name] for name in names or ("ml.m5.large",)]
    return plan.make_plan(types, found or measured(), costs, 50_000, traffic, wanted, ASSUMED)


# -- Capacity -------------------------------------------------------------------------------------


def test_the_server_refuses_the_model_after_those_that_fit_at_best() -> None:
    instance = table()["ml.t2.medium"]
    models = fitting([cost(kind(560_000), 50_000)] * 3, room(instance, measured(), ASSUMED, 0).best)
    budget = Budget(instance.memory - GIB // 2, 300 * MB, lambda: 0)
    with suppress(OutOfMemoryError):
        for number in range(100_000):
            budget.admit(number, "shared", "ubj", 50_000)
            budget.loaded(number, None)
    admitted = budget.models
    # The kernel's part is reckoned too, and no process is charged with it.
    assert models == pytest.approx(admitted * 630_000 / 810_000, rel=0.01)


@given(
    st.sampled_from(sorted(table())), st.floats(0.1, 1), st.floats(0, 8), st.integers(0, 1 << 32)
)
def test_there_is_no_less_room_at_best_than_likely(name, high, host, largest) -> None:
    assumed = Assumptions(high, int(host * GIB))
    found = room(table()[name], measured(), assumed, largest)
    assert 0 <= found.likely <= found.best < table()[name].memory


def test_processes_and_a_large_model_take_their_room() -> None:
    small = room(table()["ml.m5.large"], measured(), ASSUMED, 50_000)
    large = room(table()["ml.m5.large"], measured(), ASSUMED, 100 * MB)
    assert small.best - large.best == pytest.approx(2 * 100 * MB - (16 << 20))
    more = replace(table()["ml.m5.large"], vcpus=4)
    assert small.best - room(more, measured(), ASSUMED, 50_000).best == 2 * 5 * MB


def test_a_model_is_reckoned_as_measured_or_as_charged() -> None:
    assert cost(kind(560_000), 0) == 760_000
    assert cost(kind(560_000), 10 * MB) == 560_000 + 14 * MB
    assert fitting([1], 1 << 40) == MOST_MODELS


def test_archives_that_were_not_loaded_are_like_those_that_were() -> None:
    sizes = {f"{n}.tar.gz": ("plain" if n % 4 else "code", 50_000) for n in range(8)}
    found = measured({"plain": kind(560_000), "code": kind(10 * MB)}, sizes=sizes)
    packed = [Packed(f"{n}.tar.gz", 25_000) for n in range(800)]
    costs, largest = plan.costs_of(packed, found, unknown=2)
    assert costs[:8] == [cost(found.kinds[sizes[each.name][0]], 50_000) for each in packed[:8]]
    assert 0.2 < sum(each > 10 * MB for each in costs[:800]) / 800 < 0.3
    assert largest == 50_000
    assert costs[800:] == [sum(costs[:800]) // 800] * 2


# -- How many -------------------------------------------------------------------------------------


def test_one_is_enough_where_all_fit() -> None:
    (row,) = rows(zipf(100, 1.1), Wanted(100, 0.9, 1), [MB] * 100)
    assert (row.instances, row.limit) == (1, "minimum")
    assert row.hits == {1: 1.0}
    assert row.usd_per_month == pytest.approx(0.115 * 730)


def test_memory_asks_for_the_smallest_number_that_reaches_the_hit_ratio() -> None:
    (row,) = rows(zipf(400, 0.6), Wanted(0, 0.9, 1), [100 * MB] * 400)
    assert row.instances is not None
    assert row.instances > 2
    assert row.limit == "hit ratio"
    assert row.hits[row.instances] >= 0.9 > row.hits[row.instances - 1]
    assert row.hits_best >= row.hits[row.instances]


def test_the_cpu_asks_for_as_many_as_answer_the_rate() -> None:
    # 2 CPUs, 60 %, 1 ms each: 1,200 a second; of a burstable type 20 % of 2: 400.
    large, small = rows(
        zipf(100, 1.1), Wanted(3000, 0.9, 1), [MB] * 100, "ml.m5.large", "ml.t2.medium"
    )
    assert large.requests_per_second == pytest.approx(1200)
    assert (large.instances, large.limit) == (3, "CPU")
    assert (small.instances, small.limit) == (8, "CPU")


def test_loads_take_their_share_of_the_cpu() -> None:
    traffic, costs = zipf(400, 0.6), [100 * MB] * 400
    (row,) = rows(traffic, Wanted(0, 0.0, 1), costs)
    miss = 1 - row.hits[1]
    assert miss > 0.5
    assert row.requests_per_second == pytest.approx(1.2 / (0.001 + miss * 0.02))


def test_the_minimum_is_kept() -> None:
    (row,) = rows(zipf(100, 1.1), Wanted(0, 0.9, 3), [MB] * 100)
    assert (row.instances, row.limit) == (3, "minimum")


@pytest.mark.parametrize(
    ("wanted", "costs", "limit"),
    [
        (Wanted(0, 0.99, 1, sticky=False), 100 * MB, "hit ratio"),
        (Wanted(1e9, 0.9, 1), MB, "CPU"),
        (Wanted(0, 0.9, 1), 100 * GIB, "memory"),
    ],
)
def test_what_is_never_enough_is_told(wanted: Wanted, costs: int, limit: str) -> None:
    (row,) = rows(zipf(400, 0.6), wanted, [costs] * 400)
    assert (row.instances, row.limit, row.usd_per_month) == (None, limit, None)


def test_the_cheapest_is_of_those_with_a_price_and_enough() -> None:
    found = rows(
        zipf(100, 1.1),
        Wanted(3000, 0.9, 1),
        [MB] * 100,
        "ml.m5.large",
        "ml.m5.xlarge",
        "ml.r5.large",
    )
    assert [row.instances for row in found] == [3, 2, 3]
    assert plan.cheapest(found) is found[0]
    assert found[2].usd_per_month is None
    assert plan.cheapest(found[2:]) is None


def test_a_rate_needs_a_model_that_can_be_asked() -> None:
    found = measured(cpu=None)
    with pytest.raises(HostingError, match="give rows with --rows"):
        rows(zipf(10, 1), Wanted(1, 0.9, 1), [MB] * 10, found=found)
    (row,) = rows(zipf(10, 1), Wanted(0, 0.9, 1), [MB] * 10, found=found)
    assert row.requests_per_second is None
    assert row.instances == 1


@given(
    st.integers(1, 30),
    st.floats(0, 3000),
    st.floats(0, 1),
    st.integers(1, 5),
    st.integers(1, 3000),
)
def test_as_many_as_are_said_are_enough(models, rate, ratio, minimum, cost_) -> None:
    traffic = Traffic("", [n % models for n in range(60)] * 2, 60)
    (row,) = rows(traffic, Wanted(rate, ratio, minimum), [cost_ * MB] * models)
    if row.instances is not None:
        assert row.instances >= minimum
        assert row.hits[row.instances] >= ratio
        assert (row.requests_per_second or 0) * row.instances >= rate


# -- What is unsure -------------------------------------------------------------------------------


def test_all_that_is_unsure_is_said() -> None:
    traffic = replace(zipf(10, 1), unknown=3)
    wanted = Wanted(0, 0.9, 1)
    kinds = {"plain": kind(560_000), "code": kind(10 * MB)}
    found = measured(kinds, sizes={"0": ("plain", 1), "1": ("code", 1)})
    said = " ".join(
        notes(
            rows(traffic, wanted, [MB] * 10, "ml.t2.medium", "ml.g5.xlarge", "ml.r5.large"),
            found,
            traffic,
            wanted,
            ASSUMED,
        )
    )
    for part in (
        "it keeps 1 GiB and unloads above 75%",
        "Models with code are taken to be as frequent",
        "Of GPUs nothing was measured",
        "the least recently used",
        "3 models of the traffic are not among the archives",
        "give --rate",
        "the download from S3",
        "CPU seconds are this machine's",
        "ml.t2.medium 20.0%",
        "One instance is no redundancy",
        "ml.t2.medium 2024",
        "No price is known of ml.r5.large",
        "aws pricing get-products",
    ):
        assert part in said


def test_a_type_without_a_date_is_said_to_have_none() -> None:
    mine = InstanceType("ml.mine", 2, 8 * GIB, usd_per_hour=1.0)
    traffic, wanted = zipf(10, 1), Wanted(5, 0.9, 1)
    row = plan.make_plan([mine], measured(), [MB] * 10, 1, traffic, wanted, ASSUMED)
    said = " ".join(notes(row, measured(), traffic, wanted, ASSUMED))
    assert "ml.mine undated (no source)" in said
    assert "give --rate" not in said
