from __future__ import annotations

import pytest

from mme_training.data.channel import read_channel
from mme_training.errors import UserError
from support.training_data import read, record, write

TYPES = [None, "csv", "parquet", "recordio-protobuf", "application/vnd.apache.arrow.file"]


@pytest.mark.parametrize("content_type", TYPES)
def test_a_channel_without_files(tmp_path, content_type: str | None) -> None:
    write(tmp_path / "_SUCCESS", "")
    (tmp_path / "empty").mkdir()
    assert read_channel(tmp_path, content_type) is None
    assert read_channel(tmp_path / "nothing", content_type) is None


@pytest.mark.parametrize("content_type", TYPES)
def test_a_channel_without_rows(tmp_path, content_type: str | None) -> None:
    write(tmp_path / "a", "")
    write(tmp_path / "b", "\n \n" if content_type in (None, "csv") else "")
    with pytest.raises(UserError) as caught:
        read_channel(tmp_path, content_type)
    assert str(caught.value) == (f"the channel {tmp_path} has files, but no row of data is in them")


def test_empty_files_are_skipped(tmp_path) -> None:
    write(tmp_path / "a", "")
    write(tmp_path / "b", "1,2\n")
    write(tmp_path / "c", "\n")
    assert read(tmp_path, "csv").rows == 1


def test_a_single_file(tmp_path) -> None:
    assert read(write(tmp_path / "a.csv", "1,2\n"), "csv").features.tolist() == [[2]]


@pytest.mark.parametrize(
    ("content_type", "content"),
    [("csv", "1,2,3\n"), ("recordio-protobuf", record([1.0, 2], [1]))],
)
def test_another_number_of_columns_than_training_has(tmp_path, content_type, content) -> None:
    write(tmp_path / "a", content)
    assert read(tmp_path, content_type, columns=2).columns == 2
    with pytest.raises(UserError) as caught:
        read_channel(tmp_path, content_type, columns=3)
    assert str(caught.value) == (
        f"the channel {tmp_path} has 2 features, the training channel has 3"
    )
