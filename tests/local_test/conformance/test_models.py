"""What is loaded: the suite's own models, and those that are given."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb

from mme_local.conformance.models import HOUSE, Models, ModelsError, copied, find, train
from mme_training.archives.pack import ArchiveError, write_archive


def test_each_model_has_a_name_and_a_directory_of_its_own(tmp_path: Path):
    models = Models("/opt/ml/models", tmp_path, [])
    first, second = models.fresh(), models.fresh()
    assert first != second
    for model in (first, second):
        assert re.fullmatch("[0-9a-f]{64}", model.name)
        assert model.url == f"/opt/ml/models/{model.name}/model"
        booster = xgb.Booster(model_file=tmp_path / model.name / "model/model.ubj")
        row = np.array([HOUSE.decode().split(",")], np.float32)
        assert booster.predict(xgb.DMatrix(row))[0] > 100_000


def test_the_same_directory_under_another_name(tmp_path: Path):
    models = Models(str(tmp_path), tmp_path, [])
    model = models.fresh()
    twin = models.renamed(model)
    assert twin.url == model.url
    assert twin.name != model.name


def test_directories_with_nothing_to_load(tmp_path: Path):
    models = Models(str(tmp_path), tmp_path, [])
    nothing, empty = models.nothing(), models.empty()
    assert not Path(nothing.url).exists()
    assert empty is not None
    assert [each.name for each in Path(empty.url).iterdir()] == ["README.md"]


def test_a_large_model_predicts():
    booster = train(large=True)
    assert booster.num_boosted_rounds() == 600
    assert len(booster.save_raw("ubj")) > 5_000_000
    assert np.isfinite(booster.predict(xgb.DMatrix(np.ones((1, 6), np.float32)))[0])


def test_given_models_are_found_as_they_lie(tmp_path: Path):
    for place in ("hash/model", "plain", ".hidden"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "model.ubj").write_bytes(b"x")
    (tmp_path / "both/model").mkdir(parents=True)
    (tmp_path / "both/settings.toml").write_text("")
    write_archive({"model.ubj": tmp_path / "plain/model.ubj"}, tmp_path / "packed.tar.gz")
    found = [str(each.relative_to(tmp_path)) for each in find(tmp_path)]
    assert found == ["both", "hash/model", "packed.tar.gz", "plain"]


def test_a_directory_without_models(tmp_path: Path):
    (tmp_path / "README.md").write_text("")
    with pytest.raises(ModelsError, match="holds no directory"):
        find(tmp_path)


def test_given_models_are_copied_for_anybody_to_read(tmp_path: Path):
    file = tmp_path / "in/a/model.ubj"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    write_archive({"model.ubj": file}, tmp_path / "in/b.tar.gz")
    file.chmod(0o600)
    copies = copied(find(tmp_path / "in"), tmp_path / "out")
    assert [each.joinpath("model.ubj").read_bytes() for each in copies] == [b"x", b"x"]
    assert {each.joinpath("model.ubj").stat().st_mode & 0o777 for each in copies} == {0o644}
    models = Models("/opt/ml/models", tmp_path / "out", copies)
    assert models.fresh().url != models.fresh().url


def test_an_archive_that_is_none(tmp_path: Path):
    (tmp_path / "model.tar.gz").write_bytes(b"not gzip")
    with pytest.raises(ArchiveError, match=r"model\.tar\.gz"):
        copied(find(tmp_path), tmp_path / "out")
