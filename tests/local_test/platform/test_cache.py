from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mme_local.platform.cache import Candidate, victims

MODELS = st.lists(
    st.builds(
        Candidate,
        target=st.text("abc", min_size=1, max_size=3),
        last_used=st.integers(0, 9),
        uses=st.integers(1, 9),
        idle=st.booleans(),
    ),
    unique_by=lambda model: model.target,
)


def model(target: str, last_used: int, uses: int = 1, idle: bool = True) -> Candidate:
    return Candidate(target, last_used, uses, idle)


def test_the_least_recently_used_go_first() -> None:
    loaded = [model("a", 3), model("b", 1, uses=9), model("c", 2)]
    assert victims(loaded, 2) == ["b", "c"]


def test_the_least_frequently_used_go_first_and_of_equals_the_oldest() -> None:
    loaded = [model("a", 3, uses=2), model("b", 1, uses=9), model("c", 2, uses=2)]
    assert victims(loaded, 2, "lfu") == ["c", "a"]


def test_models_in_use_stay() -> None:
    assert victims([model("a", 1, idle=False), model("b", 2)], 5) == ["b"]


@given(MODELS, st.integers(0, 5), st.sampled_from(["lru", "lfu"]), st.randoms())
def test_the_order_in_which_they_are_given_does_not_matter(loaded, count, order, random) -> None:
    chosen = victims(loaded, count, order)
    shuffled = list(loaded)
    random.shuffle(shuffled)
    assert victims(shuffled, count, order) == chosen
    idle = {model.target for model in loaded if model.idle}
    assert len(chosen) == min(count, len(idle))
    assert set(chosen) <= idle
