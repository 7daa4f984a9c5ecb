"""Admission of models, and the size of a process."""

from __future__ import annotations

import mmap
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mme_handler.errors import OutOfMemoryError
from mme_handler.models.memory import (
    Budget,
    MeasuredError,
    machine_memory,
    megabytes,
    shared_size,
)

MB = 1_000_000


def make_budget(limit: int = 100 * MB, base: int = 20 * MB, measured: int = 0) -> Budget:
    return Budget(limit, base, lambda: measured)


def fill(budget: Budget, home: str, format_: str, size: int) -> list[int]:
    """Admit models, loaded at once, until one is refused; return their keys."""
    keys: list[int] = []
    while True:
        try:
            budget.admit(len(keys), home, format_, size)
        except OutOfMemoryError:
            return keys
        budget.loaded(len(keys), None)
        keys.append(len(keys))


# -- Budget --------------------------------------------------------------------------------------


def test_nothing_loaded():
    budget = make_budget()
    assert budget.used == budget.base >= 20 * MB
    assert "m" not in budget
    assert budget.charge("m") == 0


def test_admit_charges_and_release_gives_back():
    budget = make_budget()
    before = budget.used
    budget.admit("m", "shared", "ubj", 1 * MB)
    budget.loaded("m", None)
    assert "m" in budget
    assert budget.charge("m") == budget.estimate("shared", "ubj", 1 * MB) > 1 * MB
    assert budget.used == pytest.approx(before + budget.charge("m"), abs=1)
    budget.release("m")
    assert "m" not in budget
    assert budget.used == before


def test_release_of_an_unknown_model():
    budget = make_budget()
    before = budget.used
    budget.release("nobody")
    budget.loaded("nobody", 5 * MB)
    assert budget.used == before


def test_a_model_that_was_never_loaded_is_given_back_whole():
    budget = make_budget(limit=1000 * MB)
    before = budget.used
    budget.admit("m", "shared", "json", 50 * MB)  # with what reading it takes on top
    assert budget.used > before + budget.charge("m")
    budget.release("m")
    assert budget.used == before


def test_reading_two_files_at_once_takes_more_than_having_read_them():
    budget = make_budget(limit=2000 * MB)
    for key in "mn":
        budget.admit(key, "shared", "json", 50 * MB)
    reading = budget.used
    budget.loaded("m", None)
    budget.loaded("m", None)  # another of its workers
    assert budget.used < reading
    budget.loaded("n", None)
    assert budget.used == budget.base + 2 * budget.charge("m") + 8 * 50 * MB - (16 << 20)


def test_the_refusal_says_how_much_and_what_to_do():
    budget = make_budget(limit=90 * MB)
    with pytest.raises(OutOfMemoryError) as caught:
        budget.admit("m", "shared", "ubj", 30 * MB)
    needed = megabytes(budget.estimate("shared", "ubj", 30 * MB))
    free = megabytes(90 * MB - budget.used)
    assert caught.value.status_code == 507
    message = str(caught.value)
    assert f"{free} of {megabytes(90 * MB)} are free" in message
    assert message.endswith("unload another model first")
    # Needed are the model's bytes, and what reading the file takes for a while.
    said = float(message.partition("needs about ")[2].split()[0])
    assert said >= float(needed.split()[0])
    assert "m" not in budget


def test_free_is_never_below_zero():
    budget = make_budget(limit=10 * MB)
    with pytest.raises(OutOfMemoryError, match=r"0\.0 MB of 10\.0 MB are free"):
        budget.admit("m", "shared", "ubj", 0)


def test_what_is_measured_counts_when_it_is_more():
    measured = 0
    budget = Budget(100 * MB, 10 * MB, lambda: measured)
    budget.admit("first", "shared", "ubj", 0)
    measured = 100 * MB
    with pytest.raises(MeasuredError):
        budget.admit("second", "shared", "ubj", 0)
    measured = 0
    budget.admit("second", "shared", "ubj", 0)


def test_of_what_is_measured_some_is_never_given_away():
    """The pages of the files that are being read: without them the kernel ends a process."""
    budget = make_budget(limit=1000 * MB, measured=985 * MB)
    with pytest.raises(MeasuredError, match=r"0\.0 MB of 1,000\.0 MB are free"):
        budget.admit("m", "shared", "ubj", 0)
    assert "m" not in budget
    make_budget(limit=1000 * MB, measured=970 * MB).admit("m", "shared", "ubj", 0)


def test_what_is_charged_is_said_before_what_is_measured():
    """Only what is measured may become less without an unload."""
    budget = make_budget(limit=10 * MB, measured=100 * MB)
    with pytest.raises(OutOfMemoryError) as caught:
        budget.admit("m", "shared", "ubj", 0)
    assert not isinstance(caught.value, MeasuredError)


def test_set_base():
    budget = make_budget(base=0)
    small = budget.used
    budget.set_base(50 * MB)
    assert budget.used == small + 50 * MB


def test_an_isolated_worker_is_charged_more():
    budget = make_budget()
    assert budget.estimate("isolated", "ubj", 0) > 10 * budget.estimate("shared", "ubj", 0)


@pytest.mark.parametrize("format_", ["ubj", "json"])
def test_what_models_take_is_learnt_within_bounds(format_):
    budget = make_budget(limit=10**12)
    before = budget.estimate("shared", format_, 10 * MB)
    fixed = budget.estimate("shared", format_, 0)

    def learn(factor: float) -> int:
        for key in range(50):
            budget.admit(key, "shared", format_, 10 * MB)
            budget.loaded(key, int(10 * MB * factor))
            budget.release(key)
        return budget.estimate("shared", format_, 10 * MB)

    assert learn(1.7) == pytest.approx(17 * MB + fixed, rel=0.01)
    assert learn(10_000) == pytest.approx(3 * (before - fixed) + fixed, rel=0.01)
    assert budget.estimate("shared", format_, 0) == fixed


def test_one_sample_teaches_nothing():
    budget = make_budget()
    before = budget.estimate("isolated", "ubj", 1000)
    budget.admit("m", "isolated", "ubj", 1000)
    budget.loaded("m", 25 * MB)
    assert budget.estimate("isolated", "ubj", 1000) == before


def test_what_isolated_workers_take_is_learnt():
    budget = make_budget(limit=10**12)
    for key in range(5):
        budget.admit(key, "isolated", "ubj", 0)
        budget.loaded(key, 12 * MB)
    assert budget.estimate("isolated", "ubj", 0) == pytest.approx(12 * MB, rel=0.01)
    assert budget.used == pytest.approx(budget.base + 5 * 12 * MB, rel=0.01)


def test_near_the_limit_nothing_is_learnt():
    """What was refused is refused again, whatever the models in between seemed to take."""
    budget = make_budget()
    keys = fill(budget, "shared", "ubj", 2 * MB)
    for seen in (0, 1 * MB, 50 * MB):
        for key in keys[:5]:
            budget.release(key)
            budget.admit(key, "shared", "ubj", 2 * MB)
            budget.loaded(key, seen)
            with pytest.raises(OutOfMemoryError):
                budget.admit("one more", "shared", "ubj", 2 * MB)


homes = st.sampled_from(["shared", "isolated"])
formats = st.sampled_from(["ubj", "json"])
taken = st.integers(-50 * MB, 500 * MB)
samples = st.lists(st.tuples(homes, formats, st.integers(0, 5 * MB), taken), max_size=12)


@given(homes, formats, st.integers(0, 20 * MB), samples, samples)
def test_at_the_limit_a_release_makes_room_for_the_same_size(home, format_, size, before, between):
    """Whatever was learnt before, and whatever is learnt in between."""
    budget = make_budget(limit=200 * MB)
    learn(budget, before)
    keys = fill(budget, home, format_, size)
    if not keys:
        return
    for key in (*keys[:3], *keys[-3:]):
        with pytest.raises(OutOfMemoryError):
            budget.admit("one more", home, format_, size)
        if key in budget:
            budget.release(key)
            budget.admit(key, home, format_, size)
            budget.loaded(key, None)
    # What is learnt changes the charges of all; then the limit is elsewhere, and holds there too.
    for key in keys[: len(keys) // 2]:
        budget.loaded(key, between[0][3] if between else None)
    count = 0
    while count < 1000:
        try:
            budget.admit(("more", count), home, format_, size)
        except OutOfMemoryError:
            break
        budget.loaded(("more", count), None)
        count += 1
    while budget.used > budget.limit and keys:  # models were found to be larger than thought
        budget.release(keys.pop())
    if keys:
        budget.release(keys.pop())
        budget.admit("again", home, format_, size)


def learn(budget: Budget, samples: list[tuple]) -> None:
    for number, (home, format_, size, seen) in enumerate(samples):
        try:
            budget.admit(("sample", number), home, format_, size)
        except OutOfMemoryError:
            continue
        budget.loaded(("sample", number), seen)
        budget.release(("sample", number))


@given(samples)
def test_after_all_releases_nothing_is_charged(models):
    budget = make_budget(limit=10**12)
    for number, (home, format_, size, seen) in enumerate(models):
        budget.admit(number, home, format_, size)
        if number % 3:
            budget.loaded(number, seen)
    for number in range(len(models)):
        budget.release(number)
        budget.release(number)
    assert budget.used == budget.base


@given(samples)
def test_used_is_the_sum_of_the_charges(models):
    budget = make_budget(limit=10**12)
    for number, (home, format_, size, seen) in enumerate(models):
        budget.admit(number, home, format_, size)
        budget.loaded(number, seen)
    charges = sum(budget.charge(number) for number in range(len(models)))
    reading = [{"ubj": 2, "json": 8}[format_] * size for _, format_, size, _ in models]
    room = max([16 << 20, *reading]) - (16 << 20)  # the largest must still be readable
    assert budget.used == pytest.approx(budget.base + charges + room, abs=len(models) + 1)


def test_a_model_that_states_what_it_takes():
    budget = make_budget()
    before, estimate = budget.used, budget.estimate("shared", "ubj", 2 * MB)
    budget.admit("m", "shared", "ubj", 2 * MB, copies=2, stated=10 * MB)
    assert budget.charge("m") == 20 * MB
    assert budget.used == before + 20 * MB
    budget.loaded("m", 50 * MB)
    assert budget.estimate("shared", "ubj", 2 * MB) == estimate
    with pytest.raises(OutOfMemoryError, match=r"needs about 90\.0 MB"):
        budget.admit("n", "shared", "ubj", 1000, stated=90 * MB)
    budget.release("m")
    assert budget.used == before


def test_megabytes():
    assert megabytes(3_400_000) == "3.4 MB"
    assert megabytes(12_345_678_901) == "12,345.7 MB"


# -- Sizes ---------------------------------------------------------------------------------------


def test_machine_memory():
    assert machine_memory() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_shared_size_of_this_process():
    before = shared_size(os.getpid())
    assert 5 * MB < before < 4000 * MB
    # Not from the heap, which may have as much that was used and freed before.
    block = mmap.mmap(-1, 64 * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(0, len(block), mmap.PAGESIZE):
        block[page] = 1
    after = shared_size(os.getpid())
    assert after - before == pytest.approx(len(block), rel=0.1)


def test_shared_size_of_nobody():
    assert shared_size(2**22 + 1) == 0
