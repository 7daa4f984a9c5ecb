from __future__ import annotations

import random
from dataclasses import dataclass, field

from mme_local.platform.router import pick


@dataclass
class Stub:
    name: str
    in_flight: int = 0
    models: dict[str, int] = field(default_factory=dict)

    def load_of(self, target: str) -> int | None:
        return self.models.get(target)


def chosen(*instances: Stub, target: str | None = "a", spill: int = 4, seed: int = 0) -> str:
    return pick(instances, target, spill, random.Random(seed)).name


def test_an_instance_that_has_the_model_comes_first() -> None:
    assert chosen(Stub("x"), Stub("y", 3, {"a": 0})) == "y"


def test_of_those_that_have_it_the_one_with_the_fewest_requests_for_it() -> None:
    assert chosen(Stub("x", 2, {"a": 2}), Stub("y", 5, {"a": 1})) == "y"


def test_without_the_model_the_one_with_the_least_to_do() -> None:
    assert chosen(Stub("x", 2), Stub("y", 1)) == "y"


def test_many_requests_for_a_model_spill_over() -> None:
    assert chosen(Stub("x", 4, {"a": 4}), Stub("y", 1)) == "y"
    assert chosen(Stub("x", 3, {"a": 3}), Stub("y", 1)) == "x"
    assert chosen(Stub("x", 4, {"a": 4}), Stub("y", 9)) == "x"


def test_equals_are_shared_out_and_the_seed_repeats_it() -> None:
    chance = [random.Random(5), random.Random(5)]
    pair = [Stub("x"), Stub("y")]
    runs = [[pick(pair, None, 4, c).name for _ in range(50)] for c in chance]
    assert runs[0] == runs[1]
    assert set(runs[0]) == {"x", "y"}
