"""Admission to a GPU, by what is charged and by what a stand-in for its driver says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mme_handler.errors import OutOfMemoryError
from mme_handler.models.gpu_memory import GpuBudget

MB = 1_000_000
BODY = 6 << 20
CONTEXT = 300 << 20


class Card:
    """A GPU's memory in use; None where the driver does not say."""

    def __init__(self, used: int | None = 0) -> None:
        self.used = used

    def budget(self, limit: int = 16_000 * MB) -> GpuBudget:
        return GpuBudget(limit, BODY, lambda: self.used)


def load(budget: GpuBudget, card: Card, key: object, home: str, size: int, taken: int) -> None:
    budget.admit(key, home, "ubj", size)
    card.used += taken
    budget.loaded(key)


def test_the_host_is_charged_once():
    budget = Card().budget()
    empty = budget.used
    assert empty >= CONTEXT
    budget.admit("a", "shared", "ubj", 10 * MB)
    assert budget.used == empty + budget.charge("a")
    assert 10 * MB < budget.charge("a") < 30 * MB
    budget.admit("b", "isolated", "ubj", 10 * MB)
    assert budget.charge("b") == budget.charge("a") + empty  # a process of its own
    budget.release("b")
    budget.release("a")
    budget.release("nobody")
    assert budget.used == empty
    assert budget.charge("a") == 0
    assert "a" not in budget


def test_copies():
    budget = Card().budget()
    budget.admit("one", "shared", "json", MB)
    budget.admit("three", "shared", "json", MB, copies=3)
    assert "three" in budget
    assert budget.charge("three") == 3 * budget.charge("one")


def test_full_is_refused_before_anything_is_charged():
    budget = Card().budget(1000 * MB)
    with pytest.raises(OutOfMemoryError, match=r"on the GPU: it needs about .* of 1,000.0 MB are"):
        budget.admit("m", "shared", "ubj", 600 * MB)
    assert "m" not in budget
    budget.admit("m", "shared", "ubj", 60 * MB)


def test_what_others_use_of_the_gpu_counts():
    card = Card(15_900 * MB)
    budget = card.budget()
    with pytest.raises(OutOfMemoryError):
        budget.admit("m", "shared", "ubj", MB)
    card.used = 0
    budget.admit("m", "shared", "ubj", MB)


def test_loads_under_way_are_not_in_what_is_measured_yet():
    card = Card()
    budget = card.budget(4_000 * MB)
    budget.admit("warm", "shared", "ubj", MB)
    budget.loaded("warm")
    card.used = 2_500 * MB
    budget.admit("first", "shared", "ubj", 500 * MB)  # about 750 MB
    with pytest.raises(OutOfMemoryError):
        budget.admit("second", "shared", "ubj", 500 * MB)
    budget.loaded("first")
    budget.admit("second", "shared", "ubj", 500 * MB)


def test_a_driver_that_does_not_answer_leaves_the_charges():
    card = Card(None)
    budget = card.budget(1000 * MB)
    assert budget.measured == 0
    budget.admit("m", "shared", "ubj", 10 * MB)
    budget.loaded("m")
    with pytest.raises(OutOfMemoryError):
        budget.admit("n", "shared", "ubj", 600 * MB)


def test_the_context_is_learnt_from_the_first_model_of_a_host():
    card = Card()
    budget = card.budget()
    before = budget.used
    load(budget, card, "m", "shared", 0, 200 * MB)
    learnt = before + budget.charge("m") - budget.used
    assert learnt == pytest.approx(CONTEXT - 200 * MB, abs=MB)


def test_the_factor_is_learnt_from_models_that_are_loaded_alone():
    card = Card()
    budget = card.budget()
    load(budget, card, "warm", "shared", 0, CONTEXT)
    before = budget.charge("warm")
    for key in range(3):
        load(budget, card, key, "shared", 100 * MB, 80 * MB)
    assert budget.charge(0) - before == pytest.approx(80 * MB, rel=0.01)


def test_nothing_is_learnt_when_more_than_one_load_went_on():
    card = Card()
    budget = card.budget()
    budget.admit("warm", "shared", "ubj", 0)
    budget.admit("also", "shared", "ubj", 0)
    budget.loaded("warm")
    budget.loaded("also")
    budget.admit("sample", "shared", "ubj", 100 * MB)
    before = budget.charge("sample")
    for key in range(5):
        budget.admit(key, "shared", "ubj", 100 * MB)
        card.used += 60 * MB
        budget.loaded(key)  # "sample" is still being loaded
    budget.loaded("sample")
    assert budget.charge("sample") == before


def test_a_host_that_is_replaced_makes_another_context():
    card = Card()
    budget = card.budget()
    load(budget, card, "m", "shared", 0, CONTEXT)
    budget.host_ended()
    card.used = 15_900 * MB
    with pytest.raises(OutOfMemoryError):
        budget.admit("n", "shared", "ubj", 0)
    card.used = 0
    budget.loaded("m")  # it is loaded again
    load(budget, card, "n", "shared", 100 * MB, 150 * MB)
    assert budget.charge("n") > 100 * MB


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.sampled_from(["shared", "isolated"]),
            st.sampled_from(["ubj", "json"]),
            st.integers(0, 500 * MB),
            st.booleans(),
        )
    )
)
def test_whatever_happens_the_limit_holds_and_all_is_given_back(events):
    card = Card()
    budget = card.budget(4_000 * MB)
    empty = budget.used
    for key, home, format_, size, finishes in events:
        if key in budget:
            budget.release(key)
            continue
        try:
            budget.admit(key, home, format_, size)
        except OutOfMemoryError:
            continue
        assert budget.used <= budget.limit
        if finishes:
            budget.loaded(key)
    for key in range(10):
        budget.release(key)
    assert budget.used <= max(empty, budget.limit)
    assert budget._counts == {"shared": 0, "isolated": 0}
    assert budget._sizes == {"ubj": 0, "json": 0}
    assert not budget._loading
