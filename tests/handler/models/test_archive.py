"""What an unpacked archive is seen to hold."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import xgboost as xgb

from mme_handler.errors import ModelLoadError
from mme_handler.models.archive import fingerprint, inspect


def write(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        path = directory / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def test_a_plain_model(tmp_path):
    archive = inspect(write(tmp_path, model_dot_ubj="12345"))
    assert archive.directory == tmp_path
    assert archive.ensemble_files() == (tmp_path / "model.ubj",)
    assert (archive.script, archive.size, archive.format) == (None, 5, "ubj")


@pytest.mark.parametrize(
    ("name", "format_"),
    [("m.json", "json"), ("m.ubj", "ubj"), ("xgboost-model", "ubj"), ("m.bin", "ubj")],
)
def test_format(tmp_path, name, format_):
    (tmp_path / name).write_text("x")
    assert inspect(tmp_path).format == format_


def test_what_accompanies_a_model_is_none(tmp_path):
    names = "README.md LICENSE.txt data.csv settings.yaml a.yml b.toml c.rst setup.py .hidden.ubj"
    for name in (*names.split(), "model.ubj"):
        (tmp_path / name).write_text("xx")
    (tmp_path / "more.ubj").mkdir()
    archive = inspect(tmp_path)
    assert [path.name for path in archive.ensemble_files()] == ["model.ubj"]
    assert archive.size == 2


def test_no_model_file(tmp_path):
    archive = inspect(write(tmp_path, README_dot_md="x"))
    assert archive.size == 0
    with pytest.raises(ModelLoadError, match=r"no model file: put one at its root"):
        archive.ensemble_files()


def test_several_model_files(tmp_path):
    archive = inspect(write(tmp_path, b_dot_ubj="12", a_dot_json="123"))
    assert archive.size == 5
    assert archive.format == "json"
    with pytest.raises(ModelLoadError, match=r"keep one: a\.json, b\.ubj"):
        archive.ensemble_files()


@pytest.mark.parametrize(
    "names",
    [
        "xgboost-model-0 xgboost-model-1 xgboost-model-2 xgboost-model-10",
        "model-0.ubj model-1.ubj",
        "m1.json m02.json m3.json",
        "2024-fold-8-of-10.ubj 2024-fold-9-of-10.ubj 2024-fold-10-of-10.ubj",
        "model.9 model.10",
        "only.ubj",
    ],
)
def test_ensemble_files_come_in_the_order_of_their_numbers(tmp_path, names):
    for name in (*names.split(), "mme.json", "mme.toml", "MANIFEST.json"):
        (tmp_path / name).write_text("x")
    assert [path.name for path in inspect(tmp_path).ensemble_files()] == names.split()


@pytest.mark.parametrize(
    "names",
    [
        "a.ubj b.ubj",
        "model-0.ubj model_1.ubj",
        "model-0.ubj model-1.json",
        "model-0.ubj model-1.ubj other.ubj",
        "model-1-1.ubj model-2-2.ubj",
        "model-1.ubj model-01.ubj",
        "model model-0 model-1",
    ],
)
def test_several_model_files_that_are_no_ensemble(tmp_path, names):
    for name in names.split():
        (tmp_path / name).write_text("x")
    with pytest.raises(ModelLoadError, match="differ only in a number, such as") as caught:
        inspect(tmp_path).ensemble_files()
    assert all(name in str(caught.value) for name in names.split())


def test_an_ensemble_of_none(tmp_path):
    (tmp_path / "mme.json").write_text("{}")
    (tmp_path / "MANIFEST.json").write_text("{}")
    with pytest.raises(ModelLoadError, match="no model file: put one at its root"):
        inspect(tmp_path).ensemble_files()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_told_by_its_first_bytes(tmp_path, protocol):
    (tmp_path / "xgboost-model").write_bytes(pickle.dumps(xgb.XGBRegressor(), protocol))
    archive = inspect(tmp_path, allow_pickle=True)
    assert archive.pickled
    assert archive.needs_own_process
    assert not inspect(tmp_path).needs_own_process


def test_no_more_than_the_first_bytes_are_read(tmp_path):
    with (tmp_path / "model.ubj").open("wb") as file:
        file.truncate(1 << 40)
    archive = inspect(tmp_path, allow_pickle=True)
    assert (archive.size, archive.pickled, archive.needs_own_process) == (1 << 40, False, False)


def test_a_script_needs_a_process_of_its_own(tmp_path):
    assert inspect(write(tmp_path, model_dot_ubj="{L", inference_dot_py="")).needs_own_process


@pytest.mark.parametrize("where", ["code/inference.py", "inference.py"])
def test_script(tmp_path, where):
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    assert inspect(tmp_path).script == path


def test_the_script_below_code_comes_first(tmp_path):
    write(tmp_path, inference_dot_py="", code__inference_dot_py="")
    assert inspect(tmp_path).script == tmp_path / "code" / "inference.py"


def test_a_directory_of_that_name_is_no_script(tmp_path):
    (tmp_path / "inference.py").mkdir()
    assert inspect(tmp_path).script is None


def test_a_link_to_a_model(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere", m_dot_ubj="123")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "model.ubj").symlink_to(tmp_path / "elsewhere" / "m.ubj")
    assert inspect(tmp_path / "archive").size == 3


def test_a_link_to_nothing_and_a_pipe_are_passed_over(tmp_path):
    (tmp_path / "broken.ubj").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.ubj")
    assert inspect(tmp_path).model_files == ()


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("x")])
def test_no_directory(tmp_path, make):
    path = tmp_path / "secret-place"
    make(path)
    with pytest.raises(ModelLoadError, match="cannot be read") as caught:
        inspect(path)
    assert "secret-place" not in str(caught.value)


def test_fingerprint(tmp_path):
    def make(name: str, **files: str) -> str:
        (tmp_path / name).mkdir()
        return fingerprint(inspect(write(tmp_path / name, **files)))

    first = make("first", model_dot_ubj="1", README_dot_md="x")
    assert make("renamed", other_dot_ubj="1") == first
    assert make("changed", model_dot_ubj="2") != first
    assert make("two", a_dot_ubj="1", b_dot_ubj="2") != make("joined", a_dot_ubj="12")
