from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import boto3
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mme_training.errors import UserError
from mme_training.house_files import city_names, write_channels, write_table
from mme_training.houses import CITIES, COLUMNS, make_houses
from mme_training.split import split
from support.aws import aws

PARTS = ("train", "validation", "test")


@pytest.fixture
def s3() -> Iterator[object]:
    with aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="houses")
        yield client


def keys(client) -> list[str]:
    answer = client.list_objects_v2(Bucket="houses")
    return sorted(item["Key"] for item in answer.get("Contents", []))


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@given(count=st.integers(0, 12_000), more=st.integers(0, 20))
def test_cities_are_distinct_and_more_of_them_begin_with_the_same(count: int, more: int):
    names = city_names(count + more)
    assert names[:count] == city_names(count)
    assert len(set(names)) == count + more
    assert tuple(names[: len(CITIES)]) == CITIES[: len(names)]


def test_the_eleventh_city():
    assert city_names(11)[-1] == "City_0011"


def test_channels_hold_the_split_of_each_city(tmp_path: Path):
    write_channels(str(tmp_path), city_names(11), 50, seed=3)

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(city_names(11))
    for city in ("Dallas_TX", "City_0011"):
        assert set(contents(tmp_path / city)) == {f"{part}/{part}.csv" for part in PARTS}
        expected = split(make_houses(city, 50, 3), 3)._asdict()
        for part in PARTS:
            read = pd.read_csv(tmp_path / city / part / f"{part}.csv", header=None, names=COLUMNS)
            pd.testing.assert_frame_equal(read, expected[part].reset_index(drop=True))


def test_the_table_holds_all_houses_city_by_city(tmp_path: Path):
    path = write_table(str(tmp_path / "new"), city_names(12), 7)

    assert path == str(tmp_path / "new" / "houses.parquet")
    assert list(tmp_path.rglob("*.part")) == []
    table = pq.read_table(path)
    assert table.column_names == ["city", *COLUMNS]
    assert table.schema.field("city").type == pa.dictionary(pa.int32(), pa.string())
    frame = table.to_pandas()
    assert frame["city"].drop_duplicates().tolist() == city_names(12)
    for city, houses in frame.groupby("city", observed=True):
        pd.testing.assert_frame_equal(
            houses.drop(columns="city").reset_index(drop=True), make_houses(city, 7)
        )


def test_the_table_is_cut_into_row_groups(tmp_path: Path):
    file = pq.ParquetFile(write_table(str(tmp_path), city_names(30), 10_000))
    groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert groups == [60_000] * 5


def test_a_city_larger_than_a_row_group(tmp_path: Path):
    file = pq.ParquetFile(write_table(str(tmp_path), city_names(2), 70_000))
    groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert groups == [65_536, 4_464] * 2


def test_a_large_table_takes_little_memory(tmp_path: Path):
    write_table(str(tmp_path), city_names(7), 10_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write_table(str(tmp_path), city_names(200), 10_000)  # 2 million rows: 112 MB of numbers

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 70_000  # KiB


@pytest.mark.parametrize("write", [write_channels, write_table])
def test_the_same_arguments_give_the_same_bytes(tmp_path: Path, write):
    for name in ("a", "b", "c"):
        write(str(tmp_path / name), city_names(3), 20, seed=int(name == "c"))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


@pytest.mark.parametrize("uri", ["s3://houses/some/prefix/", "s3://houses"])
@pytest.mark.parametrize("write", [write_channels, write_table])
def test_s3_gets_what_a_directory_would(tmp_path: Path, s3, uri: str, write):
    write(str(tmp_path), city_names(11), 20)
    place = write(uri, city_names(11), 20)

    prefix = "some/prefix/" if "prefix" in uri else ""
    expected = {prefix + name: content for name, content in contents(tmp_path).items()}
    assert keys(s3) == sorted(expected)
    for key, content in expected.items():
        assert s3.get_object(Bucket="houses", Key=key)["Body"].read() == content
    if write is write_table:
        assert place == f"s3://houses/{prefix}houses.parquet"


@pytest.mark.parametrize("write", [write_channels, write_table])
def test_a_bucket_that_is_not_there_is_named(s3, write):
    with pytest.raises(UserError, match=r"^s3://nowhere/p/.* cannot be written: .*NoSuchBucket"):
        write("s3://nowhere/p", city_names(1), 5)


@pytest.mark.parametrize("write", [write_channels, write_table])
def test_an_address_without_a_bucket(write):
    with pytest.raises(UserError, match="names no bucket"):
        write("s3:///prefix", city_names(1), 5)


@pytest.mark.parametrize("write", [write_channels, write_table])
def test_a_file_where_the_directory_should_be(tmp_path: Path, write):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written to .*file"):
        write(str(tmp_path / "file"), city_names(1), 5)


def test_too_few_rows_to_split(tmp_path: Path):
    with pytest.raises(UserError, match="at least 3"):
        write_channels(str(tmp_path), city_names(1), 2)


def test_a_negative_seed(tmp_path: Path):
    with pytest.raises(ValueError):
        write_table(str(tmp_path), city_names(1), 5, seed=-1)
    assert contents(tmp_path) == {}
