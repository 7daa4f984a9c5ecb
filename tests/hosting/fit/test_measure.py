"""Real models in a real server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
import xgboost as xgb

from mme_hosting.errors import HostingError
from mme_hosting.fit import measure as module
from mme_hosting.fit.archives import Archives, in_directory
from mme_hosting.fit.measure import measure
from mme_training.archives.pack import write_archive
from mme_training.errors import UserError
from support.archives import booster, fill
from support.models import csv_of, make_rows, train

CODE = "def model_fn(model_dir): return 1\ndef transform_fn(model, body, *_): return '1'\n"


def pack(files: Path, directory: Path, name: str) -> None:
    every = {path.relative_to(files).as_posix(): path for path in files.rglob("*.*")}
    write_archive(every, directory / f"{name}.tar.gz")


@pytest.fixture(scope="module")
def large() -> xgb.Booster:
    return train(0, trees=400)


@pytest.fixture
def archives(tmp_path: Path, large: xgb.Booster) -> Archives:
    """Eight plain models, two of them large; two with code; and three that cannot be loaded."""
    place = tmp_path / "archives"
    place.mkdir()
    for number in range(6):
        files = fill(tmp_path / f"s{number}", {"model.ubj": booster(number % 2)}, check=number % 2)
        pack(files, place, f"small{number}")
    for number in range(2):
        pack(fill(tmp_path / f"l{number}", {"model.ubj": large}), place, f"large{number}")
    for number in range(2):
        pack(fill(tmp_path / f"c{number}", {"code/inference.py": CODE}), place, f"code{number}")
    pack(fill(tmp_path / "b1", {"readme.txt": "no model"}), place, "none")
    pack(fill(tmp_path / "b2", {"code/inference.py": "1 / 0"}), place, "raises")
    (place / "torn.tar.gz").write_bytes(b"no archive")
    return in_directory(place)


@pytest.mark.slow
def test_models_are_loaded_and_invoked(archives: Archives, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    said: list[str] = []
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    found = measure(archives, archives.all, say=said.append)

    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    assert not list(tmp_path.glob("mme-fit-*"))
    assert 150e6 < found.base < 700e6
    assert 0 <= found.per_host < 100e6
    plain, code = found.kinds["plain"], found.kinds["code"]
    assert (plain.archives, code.archives) == (8, 2)
    assert (plain.memory.samples, code.memory.samples) == (200, 20)
    # A plain model takes half a MB and a multiple of its file, one with code 6 to 11 MB.
    small, large = (found.sizes[name][1] for name in ("small0.tar.gz", "large0.tar.gz"))
    assert 0.2e6 < plain.memory.at(small) < 3e6
    assert plain.memory.at(large) - plain.memory.at(small) > 0.5 * (large - small)
    assert 3e6 < code.memory.at(0) < 30e6
    assert plain.charge.at(large) > plain.charge.at(small) > 0.2e6
    assert 0 < plain.load_seconds[0] <= plain.load_seconds[1] < 2
    assert 0 < plain.load_cpu < 1
    assert found.invocations is not None
    assert found.invocations.requests > 100
    assert 0 < found.invocations.seconds[0] <= found.invocations.seconds[1]
    assert 1e-5 < found.invocations.cpu < 0.1
    assert set(found.failed) == {"none.tar.gz", "raises.tar.gz", "torn.tar.gz"}
    assert "holds no model file" in found.failed["none.tar.gz"]
    assert "division by zero" in found.failed["raises.tar.gz"]
    assert found.ratio > 1
    assert said[0] == "unpacking 1 of 13"
    assert said[-1] == "invoking"


@pytest.mark.slow
def test_models_with_code_are_invoked_with_rows_that_are_given(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "_LOADS", {"code": 2})
    monkeypatch.setattr(module, "_SECONDS", 0.2)
    place = tmp_path / "archives"
    place.mkdir()
    pack(fill(tmp_path / "c", {"code/inference.py": CODE}), place, "code")
    found = in_directory(place)
    assert measure(found, found.all).invocations is None
    rows = tmp_path / "rows.csv"
    rows.write_bytes(csv_of(np.nan_to_num(make_rows(3))))
    assert measure(found, found.all, rows).invocations is not None


def test_nothing_that_loads_is_told(tmp_path: Path) -> None:
    (tmp_path / "torn.tar.gz").write_bytes(b"no archive")
    found = in_directory(tmp_path)
    with pytest.raises(HostingError, match=r"none of 1 archives .* torn.tar.gz: .*extracted"):
        measure(found, found.all)


def test_wrong_rows_are_told_before_a_server_is_started(tmp_path: Path) -> None:
    found = Archives("nowhere", (), lambda *_: tmp_path)
    with pytest.raises(HostingError, match="No such file"):
        measure(found, [], tmp_path / "absent.csv")
    (tmp_path / "rows.csv").write_text("")
    with pytest.raises(UserError, match="has no rows"):
        measure(found, [], tmp_path / "rows.csv")
