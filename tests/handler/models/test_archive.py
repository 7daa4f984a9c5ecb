"""What an unpacked archive is seen to hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
    assert archive.only_model_file() == tmp_path / "model.ubj"
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
    assert archive.only_model_file().name == "model.ubj"
    assert archive.size == 2


def test_no_model_file(tmp_path):
    archive = inspect(write(tmp_path, README_dot_md="x"))
    assert archive.size == 0
    with pytest.raises(ModelLoadError, match=r"no model file: put one at its root"):
        archive.only_model_file()


def test_several_model_files(tmp_path):
    archive = inspect(write(tmp_path, b_dot_ubj="12", a_dot_json="123"))
    assert archive.size == 5
    assert archive.format == "json"
    with pytest.raises(ModelLoadError, match=r"keep one: a\.json, b\.ubj"):
        archive.only_model_file()


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
