from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mme_training.errors import UserError
from mme_training.many.segments import arrange, digest, rows_of, safe_names
from mme_training.many.table import open_table
from mme_training.many.work import Segment


def arranged(directory: Path, columns: dict[str, Any], **options: Any) -> list[Segment]:
    directory.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), directory / "t.parquet")
    return arrange(open_table(directory / "t.parquet", "city", "price"), directory, **options)


def contents(segments: list[Segment]) -> dict[str, list[dict[str, Any]]]:
    return {segment.key: rows_of(segment).to_pylist() for segment in segments}


def test_a_segment_has_its_rows_in_their_order(tmp_path: Path):
    segments = arranged(
        tmp_path,
        {
            "area": [1, 2, 3, None, 5],
            "city": ["b", "a", "b", "a", "c"],
            "price": [1.0, 2.0, 3.0, 4.0, 5.0],
            "kind": ["x", "y", None, "x", "z"],
        },
    )

    assert [(segment.key, segment.name, segment.rows) for segment in segments] == [
        ("a", "a", 2),
        ("b", "b", 2),
        ("c", "c", 1),
    ]
    assert contents(segments) == {
        "a": [{"price": 2, "area": 2, "kind": "y"}, {"price": 4, "area": None, "kind": "x"}],
        "b": [{"price": 1, "area": 1, "kind": "x"}, {"price": 3, "area": 3, "kind": None}],
        "c": [{"price": 5, "area": 5, "kind": "z"}],
    }


def test_a_table_beyond_the_budget_is_arranged_the_same(tmp_path: Path):
    random = np.random.default_rng(0)
    rows = 140_000
    columns = {
        "city": random.integers(0, 50, rows),
        "price": random.normal(size=rows),
        "kind": random.choice(["x", "yy", ""], rows),
    }

    at_once = arranged(tmp_path / "whole", columns)
    in_parts = arranged(tmp_path / "parts", columns, budget=1 << 20)

    assert [s.name for s in at_once] == [s.name for s in in_parts]
    assert [digest(rows_of(s)) for s in at_once] == [digest(rows_of(s)) for s in in_parts]
    assert len({s.file for s in in_parts}) == 1
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [
        "rows.arrow",
        "t.parquet",
    ]


def test_rows_without_a_key_are_counted(tmp_path: Path):
    with pytest.raises(UserError, match="2 rows have no 'city'"):
        arranged(tmp_path, {"city": ["a", None, None], "price": [1.0, 2.0, 3.0], "area": [1, 2, 3]})


def test_a_table_without_rows_is_refused(tmp_path: Path):
    nothing: list[float] = []
    columns = {"city": pa.array([], pa.string()), "price": nothing, "area": nothing}
    with pytest.raises(UserError, match="no rows"):
        arranged(tmp_path, {**columns, "price": pa.array([], pa.float64())})


@given(st.sets(st.text(max_size=80), max_size=20))
def test_names_are_safe_and_no_two_are_the_same(keys: set[str]):
    names = safe_names(keys)

    assert names.keys() == keys
    assert len(set(names.values())) == len(keys)
    for name in names.values():
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name)
    assert safe_names(sorted(keys, reverse=True)) == names


def test_names_stay_close_to_their_keys():
    names = safe_names(["Chicago_IL", "São Paulo", "a/b", "a b", "a_b", "..", "東京", "x" * 65])

    assert names["Chicago_IL"] == "Chicago_IL"
    assert names["São Paulo"] == "Sao_Paulo"
    assert names["a_b"] == "a_b"
    assert re.fullmatch(r"a_b-[0-9a-f]{8}", names["a/b"])
    assert re.fullmatch(r"segment-[0-9a-f]{8}", names[".."])
    assert re.fullmatch(r"segment-[0-9a-f]{8}", names["東京"])
    assert re.fullmatch(r"x{55}-[0-9a-f]{8}", names["x" * 65])


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 2, None, 4]),
        pa.array([1.5, None, 3.5, 4.5]),
        pa.array([True, False, None, True]),
        pa.array(["a", "bb", None, ""], pa.large_string()),
    ],
    ids=str,
)
def test_the_digest_is_of_what_rows_hold(column: pa.Array):
    def of(column: Any) -> str:
        return digest(pa.table({"x": column}))

    copy = pa.array(column.to_pylist()[1:], column.type)
    halves = pa.chunked_array([column.slice(1, 1), column.slice(2)])
    last = column.to_pylist()[-1]

    assert of(column.slice(1)) == of(copy) == of(halves)
    others = [column.slice(0, 3), column.slice(1).take(pa.array([0, 2, 1])), column]
    assert len({of(other) for other in (column.slice(1), *others)}) == 4
    filled = pa.array([last if v is None else v for v in column.to_pylist()], column.type)
    assert of(filled) != of(column)


def test_nulls_are_not_zeros():
    zero, null = pa.table({"x": pa.array([0, 1])}), pa.table({"x": pa.array([None, 1])})

    assert digest(zero) != digest(null)
