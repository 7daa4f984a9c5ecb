from __future__ import annotations

import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from mme_training.archives.assemble import assemble, digest, name_of
from mme_training.archives.check import read_rows
from mme_training.archives.pack import ArchiveError, unpack
from mme_training.errors import UserError
from support.archives import booster, fill, link, names, tar
from support.models import csv_of, make_rows

CODE = "def input_fn(body, content_type): ...\n"


def test_a_model_file_of_any_name(tmp_path) -> None:
    fill(tmp_path, {"anything.txt": booster(), "other.json": booster()})

    done = assemble(tmp_path / "anything.txt", tmp_path / "a.tar.gz")
    assemble(tmp_path / "other.json", tmp_path / "b.tar.gz")

    assert names(tmp_path / "a.tar.gz") == ["model.ubj"]
    assert names(tmp_path / "b.tar.gz") == ["model.json"]
    assert done.sha256 == digest(tmp_path / "a.tar.gz")
    assert done.size == (tmp_path / "a.tar.gz").stat().st_size
    assert done.inspection.models[0].features == 6


def test_a_directory_as_training_leaves_it(tmp_path) -> None:
    files = {
        **{f"xgboost-model-{number}": booster(number) for number in range(3)},
        "mme.toml": 'output = "score"',
        "code/inference.py": CODE,
        "code/lib/scaler.pkl": b"\x80\x04.",
        ".DS_Store": "",
        "code/__pycache__/inference.cpython-311.pyc": "",
        "empty/.keep": "",
    }
    done = assemble(fill(tmp_path / "model", files), tmp_path / "a.tar.gz")

    assert names(tmp_path / "a.tar.gz") == [
        "code/inference.py", "code/lib/scaler.pkl", "mme.toml",
        "xgboost-model-0", "xgboost-model-1", "xgboost-model-2",
    ]  # fmt: skip
    assert done.notes == (
        "left out: .DS_Store, code/__pycache__/inference.cpython-311.pyc, empty/.keep",
    )


@settings(max_examples=10)
@given(st.randoms(use_true_random=False), st.dictionaries(
    st.from_regex(r"code/[a-z]{1,8}\.txt", fullmatch=True), st.binary(max_size=500), max_size=4
))  # fmt: skip
def test_the_same_files_give_the_same_bytes(
    tmp_path_factory, order: random.Random, files: dict[str, bytes]
) -> None:
    root = tmp_path_factory.mktemp("same")
    whole = {"xgboost-model": booster(), **files}
    shuffled = list(whole.items())
    order.shuffle(shuffled)
    fill(root / "one", whole)
    fill(root / "two", {".hidden": "x", **dict(shuffled)})
    for path in (root / "two").rglob("*"):
        os.utime(path, (order.randrange(2**31), order.randrange(2**31)))
        path.chmod(0o700)

    first = assemble(root / "one", root / "1.tar.gz")
    second = assemble(root / "two", root / "2.tar.gz")
    again = assemble(root / "2.tar.gz", root / "3.tar.gz")
    assert first.sha256 == second.sha256 == again.sha256


@pytest.mark.parametrize("prefix", ["model/", "./model/", "a/b/"])
def test_the_single_top_directory_of_an_archive_is_lifted(tmp_path, prefix: str) -> None:
    files = {
        f"{prefix}model.ubj": bytes(booster().save_raw("ubj")),
        f"{prefix}code/inference.py": CODE.encode(),
        f"{prefix}._model.ubj": b"of a Mac",
    }
    done = assemble(tar(tmp_path / "old.tar.gz", files), tmp_path / "new.tar.gz")

    assert names(tmp_path / "new.tar.gz") == ["code/inference.py", "model.ubj"]
    assert any(note.startswith("put at the root what was in ") for note in done.notes)


def test_a_directory_of_code_alone_is_not_lifted(tmp_path) -> None:
    code = b"def model_fn(model_dir): ...\n"
    assemble(tar(tmp_path / "old.tgz", {"code/inference.py": code}), tmp_path / "new.tar.gz")
    assert names(tmp_path / "new.tar.gz") == ["code/inference.py"]


def test_code_and_settings_replace_those_that_were_there(tmp_path) -> None:
    model = fill(
        tmp_path / "model",
        {"model.ubj": booster(), "code/inference.py": "old", "code/old.py": "", "mme.json": "{}"},
    )
    code = fill(tmp_path / "mine", {"inference.py": CODE, "lib/helper.py": ""})
    (tmp_path / "other.toml").write_text("threads = 2")

    done = assemble(
        model, tmp_path / "a.tar.gz", code=code, settings=tmp_path / "other.toml"
    )  # fmt: skip

    unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert names(tmp_path / "a.tar.gz") == [
        "code/inference.py", "code/lib/helper.py", "mme.toml", "model.ubj",
    ]  # fmt: skip
    assert (tmp_path / "out" / "code" / "inference.py").read_text() == CODE
    assert done.notes == (f"{code} replaces the code that was there",)
    assert done.inspection.settings == {"threads": 2}


def test_a_link_within_the_directory_becomes_a_file(tmp_path) -> None:
    model = fill(tmp_path / "model", {"code/data/real": booster(), "code/inference.py": CODE})
    (model / "model.ubj").symlink_to("code/data/real")
    assemble(model, tmp_path / "a.tar.gz")
    unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert (tmp_path / "out" / "model.ubj").read_bytes() == booster().save_raw("ubj")


@pytest.mark.parametrize("target", ["/etc/passwd", "..", "missing", "code"])
def test_other_links_are_refused(tmp_path, target: str) -> None:
    model = fill(tmp_path / "model", {"model.ubj": booster(), "code/inference.py": CODE})
    (model / "linked").symlink_to(target)
    with pytest.raises(UserError, match=r"linked is (a link that leads out|neither a file nor)"):
        assemble(model, tmp_path / "a.tar.gz")
    assert not (tmp_path / "a.tar.gz").exists()


PICKLE = pickle.dumps([1])


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "the archive holds no model file"),
        ({"notes.txt": "x"}, "the archive holds no model file"),
        ({"a.ubj": b"x", "b.ubj": b"x"}, "several model files, keep one: a.ubj, b.ubj"),
        ({"model.pkl": PICKLE}, r"'model.pkl' is a Python pickle .*Booster.save_model"),
        ({"model.ubj": b"{L\0\0"}, "cut short or damaged"),
        ({"model.bin": b"binf" + bytes(200)}, "mme convert OLD NEW"),
        ({"model.tar.gz": b"\x1f\x8bx", "model.ubj": None},
         "holds an archive, model.tar.gz: unpack it"),
        ({"model/model.ubj": None}, "everything is in model/, where no server looks"),
        ({"model.ubj": None, "mme.toml": "thread = 1"}, "unknown key 'thread': did you mean"),
        ({"model.ubj": None, "mme.toml": 'trees = "best_iteration"'}, "trained without early"),
        ({"model.ubj": None, "mme.toml": 'default_accept = "text/html"'}, "text/html"),
        ({"model.ubj": None, "code/inference.py": "def model_fn(:"}, "inference.py is refused"),
        ({"model.pkl": PICKLE, "code/inference.py": CODE}, "is a Python pickle"),
    ],
)  # fmt: skip
def test_what_a_server_would_refuse_is_not_packed(tmp_path, files, reason: str) -> None:
    given = {name: booster() if content is None else content for name, content in files.items()}
    (tmp_path / "model").mkdir()
    fill(tmp_path / "model", given)
    (tmp_path / "a.tar.gz").write_bytes(b"before")

    with pytest.raises(UserError, match=rf"model is not packed: .*{reason}"):
        assemble(tmp_path / "model", tmp_path / "a.tar.gz")
    assert (tmp_path / "a.tar.gz").read_bytes() == b"before"


def test_members_that_do_not_fit_together(tmp_path) -> None:
    rows = make_rows(50)[:, :4]
    other = xgb.train({"nthread": 1}, xgb.DMatrix(rows, np.ones(50)), 2)
    model = fill(tmp_path / "model", {"model-0.ubj": booster(), "model-1.ubj": other})
    with pytest.raises(UserError, match="do not fit together: their features differ"):
        assemble(model, tmp_path / "a.tar.gz")


def test_a_pickle_for_code_that_opens_it_is_packed_with_a_note(tmp_path) -> None:
    files = {"model.pkl": PICKLE, "code/inference.py": "def model_fn(model_dir): ..."}
    done = assemble(fill(tmp_path / "model", files), tmp_path / "a.tar.gz")
    assert "model.pkl is a pickle, which its code may open" in done.notes[0]


@pytest.mark.parametrize(
    "members",
    [{"link": link("link", "/etc/passwd")}, {"../evil": b"x"}, {"/evil": b"x"}],
    ids=["link", "up", "absolute"],
)
def test_hostile_archives_are_not_packed_again(tmp_path, members) -> None:
    good = {"model.ubj": bytes(booster().save_raw("ubj"))}
    tar(tmp_path / "old.tar.gz", {**good, **members})
    with pytest.raises(ArchiveError):
        assemble(tmp_path / "old.tar.gz", tmp_path / "new.tar.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.tar.gz"]


@pytest.mark.parametrize("header", [True, False])
def test_rows_get_the_models_predictions(tmp_path, header: bool) -> None:
    fill(tmp_path, {"model.ubj": booster()})
    rows = make_rows(12, 5)
    text = csv_of(rows).decode()
    (tmp_path / "rows.csv").write_text("f0,f1,f2,f3,f4,f5\n" * header + text)

    done = assemble(
        tmp_path / "model.ubj", tmp_path / "a.tar.gz", check=tmp_path / "rows.csv"
    )  # fmt: skip

    unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    found = read_rows(tmp_path / "out" / "check.csv", 6).predictions
    assert found is not None
    assert found.tobytes() == booster().predict(xgb.DMatrix(rows)).tobytes()
    assert done.inspection.check_rows == 12


def test_rows_that_do_not_fit_the_model(tmp_path) -> None:
    fill(tmp_path, {"model.ubj": booster(), "rows.csv": "1,2,3,4,5,many\n"})
    with pytest.raises(UserError, match=r"rows\.csv does not fit the model: line 1"):
        assemble(tmp_path / "model.ubj", tmp_path / "a.tar.gz", check=tmp_path / "rows.csv")


def test_rows_for_code_need_predictions(tmp_path) -> None:
    model = fill(tmp_path / "model", {"model.ubj": booster(), "code/inference.py": CODE})
    (tmp_path / "rows.csv").write_text("1,2\n")
    with pytest.raises(UserError, match="no column 'prediction'"):
        assemble(model, tmp_path / "a.tar.gz", check=tmp_path / "rows.csv")


def test_a_source_that_is_not_there(tmp_path) -> None:
    with pytest.raises(UserError, match="there is no "):
        assemble(tmp_path / "missing", tmp_path / "a.tar.gz")


def test_names(tmp_path) -> None:
    (tmp_path / "Chicago.v2").mkdir()
    assert name_of(tmp_path / "Chicago.v2") == "Chicago.v2"
    assert name_of(Path("Chicago_IL.tar.gz")) == "Chicago_IL"
    assert name_of(Path("Chicago_IL.ubj")) == "Chicago_IL"
