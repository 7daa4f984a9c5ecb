from __future__ import annotations

import gzip
import logging
from pathlib import Path

import pytest

from mme_training.data.files import data_files
from mme_training.errors import UserError
from support.training_data import write


def names(directory: Path) -> list[str]:
    return [file.name for file in data_files(directory)]


def test_all_files_in_the_order_of_their_paths(tmp_path) -> None:
    channel = tmp_path / "train"
    for name in ("b.csv", "a/c/d/e/f/part-1.csv", "a/part-0", "a.csv", "empty"):
        write(channel / name, "" if name == "empty" else "1,2\n")
    assert names(channel) == [
        "train/a/c/d/e/f/part-1.csv",
        "train/a/part-0",
        "train/a.csv",
        "train/b.csv",
        "train/empty",
    ]
    assert [file.size for file in data_files(channel)] == [4, 4, 4, 4, 0]


def test_hidden_files_are_skipped_and_logged(tmp_path, caplog) -> None:
    for name in ("_SUCCESS", ".DS_Store", "_temporary/0/part-0", ".git/x", "a/.hidden", "a/part"):
        write(tmp_path / "train" / name, "1,2\n")
    with caplog.at_level(logging.INFO):
        assert names(tmp_path / "train") == ["train/a/part"]
    for name in ("_SUCCESS", ".DS_Store", "_temporary", ".git", ".hidden"):
        assert f"{name} is skipped" in caplog.text


def test_links_are_followed(tmp_path, caplog) -> None:
    target = write(tmp_path / "elsewhere" / "part-0", "1,2\n")
    channel = tmp_path / "train"
    channel.mkdir()
    (channel / "directory").symlink_to(target.parent)
    (channel / "file").symlink_to(target)
    (channel / "up").symlink_to(channel)
    (channel / "gone").symlink_to(tmp_path / "nowhere")
    assert names(channel) == ["train/directory/part-0", "train/file"]
    assert "gone is skipped" in caplog.text


def test_a_single_file(tmp_path) -> None:
    path = write(tmp_path / "train.csv", "1,2\n")
    assert names(path) == ["train.csv"]


def test_no_directory(tmp_path) -> None:
    assert names(tmp_path / "nothing") == []


@pytest.mark.parametrize("content", [b"1,2\n", gzip.compress(b"1,2\n")])
def test_content(tmp_path, content: bytes) -> None:
    write(tmp_path / "a", content)
    with data_files(tmp_path)[0].open() as stream:
        assert stream.peek(10)[:10] == b"1,2\n"
        assert stream.read() == b"1,2\n"


@pytest.mark.parametrize("damage", [slice(0, -5), slice(0, 12)])
def test_a_damaged_gzip(tmp_path, damage: slice) -> None:
    write(tmp_path / "train" / "a", gzip.compress(b"1,2\n" * 9)[damage])
    (file,) = data_files(tmp_path / "train")
    with pytest.raises(UserError, match=r"train/a cannot be read: "), file.open() as stream:
        stream.read()


def test_a_file_that_is_gone(tmp_path) -> None:
    path = write(tmp_path / "train" / "a", "1,2\n")
    (file,) = data_files(tmp_path / "train")
    path.unlink()
    with pytest.raises(UserError, match=r"train/a cannot be read: "), file.open():
        pass


def test_links_that_lead_nowhere_are_skipped(tmp_path, caplog) -> None:
    channel = tmp_path / "train"
    write(channel / "a.csv", "1,2\n")
    (channel / "itself").symlink_to("itself")
    (channel / "gone").symlink_to("nowhere")
    (channel / "up").symlink_to("..")
    assert names(channel) == ["train/a.csv"]
    assert "itself is skipped" in caplog.text
