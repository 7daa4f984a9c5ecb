from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from mme_training.errors import UserError
from mme_training.many.table import open_table

COLUMNS: dict[str, list[Any]] = {
    "city": ["a", "b", "a"],
    "price": [1.0, 2.0, 3.0],
    "area": [1, 2, 3],
    "kind": ["x", None, "y"],
}


def content(path: Path, **options: Any) -> dict[str, list[Any]]:
    table = open_table(path, "city", "price", **options)
    return pa.Table.from_batches(table.batches(), table.schema).to_pydict()


def write(path: Path, columns: dict[str, Any]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_arrow_and_csv_are_the_same_table(tmp_path: Path):
    table = pa.table(COLUMNS)
    pq.write_table(table, tmp_path / "t.parquet")
    pyarrow.feather.write_feather(table, tmp_path / "t.feather")
    (tmp_path / "t.csv").write_text("city,price,area,kind\na,1,1,x\nb,2,2,\na,3.0,3,y\n")

    for name in ("t.parquet", "t.feather", "t.csv"):
        assert content(tmp_path / name) == COLUMNS


def test_a_directory_of_files_is_one_table(tmp_path: Path):
    for part in (0, 1):
        directory = tmp_path / "table" / f"part{part}"
        directory.mkdir(parents=True)
        write(directory / "rows.parquet", COLUMNS)
    (tmp_path / "table" / "_SUCCESS").touch()

    assert content(tmp_path / "table")["city"] == COLUMNS["city"] * 2


def test_folders_may_hold_the_key(tmp_path: Path):
    for city in ("Fort Worth", "Dallas"):
        directory = tmp_path / "table" / f"city={city}"
        directory.mkdir(parents=True)
        write(directory / "rows.parquet", {"price": [1.0], "area": [2]})

    assert content(tmp_path / "table")["city"] == ["Dallas", "Fort Worth"]


def test_columns_that_are_not_asked_for_are_left_out(tmp_path: Path):
    path = write(tmp_path / "t.parquet", {**COLUMNS, "when": [datetime.date(2024, 1, 1)] * 3})

    assert list(content(path, features=["kind", "area"])) == ["city", "price", "kind", "area"]


@pytest.mark.parametrize(
    ("keys", "texts"),
    [
        (pa.array([7, -1, 7]), ["7", "-1", "7"]),
        (pa.array([True, False, True]), ["true", "false", "true"]),
        (pa.array([datetime.date(2024, 2, 29)] * 3), ["2024-02-29"] * 3),
        (pa.array([datetime.datetime(2024, 2, 29)] * 3), ["2024-02-29"] * 3),
        (pa.array(["x", "", "y"]).dictionary_encode(), ["x", "", "y"]),
        (pa.array(["x", "ü", "y"], pa.string_view()), ["x", "ü", "y"]),
    ],
)
def test_keys_of_every_type_become_text(tmp_path: Path, keys: pa.Array, texts: list[str]):
    assert content(write(tmp_path / "t.parquet", {**COLUMNS, "city": keys}))["city"] == texts


def test_keys_in_csv_are_as_they_are_written(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("city,price,area\n00501,1,1\n1e3,2,2\n")

    assert content(path)["city"] == ["00501", "1e3"]


def test_numbers_in_csv_may_get_a_fraction_later(tmp_path: Path):
    path = tmp_path / "t.csv"
    rows = 600_000
    path.write_text("city,price,area,empty\n" + "a,1,1,\n" * rows + "a,1.5,2.5,3.5\n")

    read = content(path)

    assert len(read["price"]) == rows + 1
    assert [read[name][-1] for name in ("price", "area", "empty")] == [1.5, 2.5, 3.5]


def test_categories_and_decimals_can_be_features(tmp_path: Path):
    columns = {
        **COLUMNS,
        "code": pa.array([3, 1, 3]).dictionary_encode(),
        "tax": [Decimal("1.50"), None, Decimal("2.25")],
    }
    pyarrow.feather.write_feather(pa.table(columns), tmp_path / "t.feather")

    read = content(tmp_path / "t.feather")

    assert read["code"] == ["3", "1", "3"]
    assert read["tax"] == [1.5, None, 2.25]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({}, {"by": "citty"}, "no column 'citty' for the key; did you mean 'city'"),
        ({}, {"label": "Price"}, "no column 'Price' for the label; did you mean 'price'"),
        ({}, {"features": ["aera"]}, "no column 'aera' for the feature; did you mean 'area'"),
        ({}, {"features": ["area", "area"]}, "once as a feature"),
        ({}, {"features": ["price"]}, "one use"),
        ({}, {"features": []}, "no column to learn from"),
        ({}, {"label": "city", "by": "city"}, "one use"),
        ({}, {"label": "kind"}, "'kind' is string, and cannot be the label"),
        ({"city": [1.5, 2.5, 3.5]}, {}, "'city' is double, and cannot be split by"),
        ({"when": [datetime.date(2024, 1, 1)] * 3}, {}, "'when' is date32.* cannot be a feature"),
        ({"tags": [[1], [2], [3]]}, {}, "'tags' is list.* cannot be a feature"),
        ({"price": [datetime.date(2024, 1, 1)] * 3}, {}, "'price' is date32.* cannot be the label"),
        (
            {"area [m2]": [1.0, 2.0, 3.0]},
            {},
            r"'area \[m2\]' cannot be a feature: .* no \[, \] or <",
        ),
        ({"a<b": [1.0, 2.0, 3.0]}, {}, "'a<b' cannot be a feature"),
    ],
)
def test_columns_of_no_use_are_refused_by_name(
    tmp_path: Path, columns: dict[str, Any], options: dict[str, Any], message: str
):
    path = write(tmp_path / "t.parquet", {**COLUMNS, **columns})

    with pytest.raises(UserError, match=message):
        open_table(path, **{"by": "city", "label": "price", **options})


def test_a_time_of_day_is_no_key(tmp_path: Path):
    times = [datetime.datetime(2024, 2, 29, hour) for hour in (0, 1, 2)]

    with pytest.raises(UserError, match="'city' has times of day"):
        content(write(tmp_path / "t.parquet", {**COLUMNS, "city": times}))


def test_a_file_without_a_column_is_refused(tmp_path: Path):
    write(tmp_path / "a.parquet", COLUMNS)
    write(tmp_path / "b.parquet", {name: COLUMNS[name] for name in ("city", "price", "kind")})

    with pytest.raises(UserError, match=r"b\.parquet has no column 'area'"):
        open_table(tmp_path, "city", "price")


def test_text_among_numbers_of_csv_is_told_with_its_row(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("city,price,area\n" + "a,1,1\n" * 900_000 + "a,1,many\n")

    with pytest.raises(UserError, match="invalid value 'many'"):
        content(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (None, "", "no such file"),
        ("t.json", "{}", "Parquet, Arrow or CSV"),
        ("t.parquet", "not parquet", r"t\.parquet cannot be read as parquet"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str | None, text: str, message: str):
    path = tmp_path / (name or "missing.parquet")
    if name:
        path.write_text(text)

    with pytest.raises(UserError, match=message):
        open_table(path, "city", "price")


def test_an_empty_directory_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="holds no files"):
        open_table(tmp_path, "city", "price")


def test_the_index_of_a_frame_is_no_feature(tmp_path: Path):
    frame = pd.DataFrame(COLUMNS).iloc[[2, 0, 1]]
    frame.to_parquet(tmp_path / "t.parquet")

    assert "__index_level_0__" in pq.read_schema(tmp_path / "t.parquet").names
    opened = open_table(tmp_path / "t.parquet", "city", "price")
    assert opened.features == tuple(name for name in COLUMNS if name not in ("city", "price"))
