"""Houses of a city, as CSV with the price first, by the standard library alone.

    python houses.py DIRECTORY CITY...

writes ``train/houses.csv`` and ``validation/houses.csv`` for each city.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

COUNT = 1000
VALIDATION = 200


def house(rng: random.Random) -> list[float]:
    """Year built, square feet, bedrooms, bathrooms, acres, garage spaces."""
    return [
        min(2019, int(rng.gauss(1995, 10))),
        max(300, int(rng.gauss(3000, 750))),
        rng.randint(2, 5),
        rng.randint(4, 8) / 2,
        round(max(0.05, rng.gauss(1.0, 0.25)), 2),
        rng.randint(0, 3),
    ]


def price(features: list[float], factor: float) -> int:
    """Dollars, in a city that is so much dearer than others."""
    year, feet, bedrooms, bathrooms, acres, garage = features
    base = 150 * feet + 10_000 * bedrooms + 15_000 * bathrooms + 15_000 * acres + 15_000 * garage
    return int(factor * (base - 1_500 * (2019 - year)))


def write(city: str, directory: Path) -> Path:
    """Write the houses of a city to files below `directory`; return the city's own directory."""
    rng = random.Random(city)  # noqa: S311 - repeatable
    factor = rng.uniform(0.7, 1.5)
    houses = [house(rng) for _ in range(COUNT)]
    lines = [",".join(map(str, [price(each, factor), *each])) for each in houses]
    for channel, part in (("validation", lines[:VALIDATION]), ("train", lines[VALIDATION:])):
        file = directory / city / channel / "houses.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(part) + "\n")
    return directory / city


if __name__ == "__main__":
    for name in sys.argv[2:]:
        print(write(name, Path(sys.argv[1])))
