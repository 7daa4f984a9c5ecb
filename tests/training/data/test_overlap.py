from __future__ import annotations

from mme_training.data.overlap import shared_files, warn_of_overlap
from support.training_data import write


def test_files_with_the_same_content(tmp_path, caplog) -> None:
    for name in ("train/a.csv", "train/deep/b.csv", "validation/c.csv"):
        write(tmp_path / name, "1,2\n")
    write(tmp_path / "train" / "other.csv", "1,3\n")
    write(tmp_path / "validation" / "other.csv", "1,4\n")
    write(tmp_path / "train" / "empty", "")
    write(tmp_path / "validation" / "empty", "")
    warn_of_overlap(tmp_path / "train", tmp_path / "validation")
    assert caplog.messages == [
        "files with the same content are in the training and the validation channel: "
        "train/a.csv = validation/c.csv, train/deep/b.csv = validation/c.csv; validation scores "
        "and early stopping are too good by them"
    ]


def test_many_shared_files(tmp_path, caplog) -> None:
    for channel in ("train", "validation"):
        for number in range(10, 17):
            write(tmp_path / channel / f"{number}.csv", f"{number},2\n")
    assert len(shared_files(tmp_path / "train", tmp_path / "validation")) == 7
    warn_of_overlap(tmp_path / "train", tmp_path / "validation")
    assert "train/14.csv = validation/14.csv and 2 more;" in caplog.text


def test_nothing_in_common(tmp_path, caplog) -> None:
    write(tmp_path / "train" / "a.csv", "1,2\n")
    write(tmp_path / "validation" / "a.csv", "1,3\n")
    warn_of_overlap(tmp_path / "train", tmp_path / "validation")
    assert not caplog.messages


def test_the_same_directory(tmp_path, caplog) -> None:
    write(tmp_path / "train" / "a.csv", "1,2\n")
    (tmp_path / "validation").symlink_to(tmp_path / "train")
    warn_of_overlap(tmp_path / "train", tmp_path / "validation")
    assert caplog.messages[0].startswith("the training and the validation channel are the same (")
