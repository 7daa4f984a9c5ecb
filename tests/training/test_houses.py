from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mme_training.houses import (
    CITIES,
    COLUMNS,
    FEATURES,
    MIN_LOT_ACRES,
    MIN_SQUARE_FEET,
    make_houses,
    price,
    write_csv,
)


@pytest.mark.parametrize(
    ("house", "dollars"),
    [
        # 150 * 3000 + 10,000 * 4 + 15,000 * (2 + 1 + 2) - 5,000 * 0
        ((2019, 3000, 4, 2.0, 1.0, 2), 565_000),
        # 150 * 2000 + 10,000 * 2 + 15,000 * (1.5 + 0.5 + 0) - 5,000 * 19
        ((2000, 2000, 2, 1.5, 0.5, 0), 255_000),
        # 150 * 2511 + 10,000 * 6 + 15,000 * (2.5 + 0.29 + 3) - 5,000 * 44
        ((1975, 2511, 6, 2.5, 0.29, 3), 303_500),
        # 150 * 300 + 10,000 * 2 + 15,000 * (1 + 0.05 + 0) - 5,000 * 79
        ((1940, 300, 2, 1.0, 0.05, 0), -314_250),
    ],
)
def test_price_of_a_house_worked_out_by_hand(house: tuple[float, ...], dollars: int) -> None:
    assert price(pd.DataFrame([house], columns=list(FEATURES))).tolist() == [dollars]


def test_every_price_follows_from_the_other_columns() -> None:
    for house in make_houses("Dallas_TX", 200).to_dict("records"):
        expected = (
            150 * house["SQUARE_FEET"]
            + 10_000 * house["NUM_BEDROOMS"]
            + 15_000 * house["NUM_BATHROOMS"]
            + 15_000 * house["LOT_ACRES"]
            + 15_000 * house["GARAGE_SPACES"]
            - 5_000 * (2019 - house["YEAR_BUILT"])
        )
        assert house["PRICE"] == pytest.approx(expected, abs=1e-6)


def test_houses_are_within_their_ranges() -> None:
    houses = make_houses("Chicago_IL", 20_000)

    assert tuple(houses.columns) == COLUMNS
    assert len(houses) == 20_000
    assert set(houses["NUM_BEDROOMS"]) == {2, 3, 4, 5, 6}
    assert set(houses["NUM_BATHROOMS"]) == {1.0, 1.5, 2.0, 2.5, 3.0}
    assert set(houses["GARAGE_SPACES"]) == {0, 1, 2, 3}
    assert houses["YEAR_BUILT"].max() == 2019
    assert houses["SQUARE_FEET"].min() >= MIN_SQUARE_FEET
    assert houses["LOT_ACRES"].min() >= MIN_LOT_ACRES


def test_houses_have_the_means_and_deviations_asked_for() -> None:
    houses = make_houses("Houston_TX", 20_000)

    assert houses["SQUARE_FEET"].mean() == pytest.approx(3000, abs=25)
    assert houses["SQUARE_FEET"].std() == pytest.approx(750, rel=0.03)
    assert houses["LOT_ACRES"].mean() == pytest.approx(1, abs=0.01)
    assert houses["LOT_ACRES"].std() == pytest.approx(0.25, rel=0.03)
    assert houses["YEAR_BUILT"].median() == pytest.approx(1995, abs=1)


@settings(max_examples=25)
@given(city=st.text(st.characters(codec="utf-8")), seed=st.integers(0, 2**40))
def test_the_same_city_and_seed_give_the_same_houses(city: str, seed: int) -> None:
    first = make_houses(city, 5, seed)
    make_houses("another city drawn in between", 5, seed)
    pd.testing.assert_frame_equal(make_houses(city, 5, seed), first)


def test_cities_and_seeds_differ() -> None:
    tables = [make_houses(city, 5) for city in CITIES] + [make_houses(CITIES[0], 5, seed=1)]
    assert len({table.to_csv() for table in tables}) == 11


@pytest.mark.parametrize(("rows", "seed"), [(0, 1), (-1, 1), (5, -1)])
def test_impossible_arguments_are_refused(rows: int, seed: int) -> None:
    with pytest.raises(ValueError):
        make_houses("Dallas_TX", rows, seed)


def test_csv_has_the_price_first_and_no_header(tmp_path) -> None:
    houses = pd.DataFrame([(2019, 3000, 4, 2.0, 1.07, 2)], columns=list(FEATURES))
    houses["PRICE"] = price(houses)
    write_csv(houses, tmp_path / "houses.csv")
    assert (tmp_path / "houses.csv").read_text() == "566050,2019,3000,4,2.0,1.07,2\n"
