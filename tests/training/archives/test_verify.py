from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from mme_training.archives.check import read_rows, write_check, write_rows
from mme_training.archives.verify import HERE, TRAINER, Verdict, verify
from mme_training.errors import UserError
from support.archives import booster, fill, tar
from support.models import make_rows

OUTPUT = "def output_fn(prediction, accept):\n    return {}\n"


def make(root: Path, name: str, files: Mapping, check: int | None = None) -> Path:
    """An archive by hand, so that also what `mme pack` refuses gets to the server."""
    directory = fill(root / name, files, check)
    members = {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
    return tar(root / f"{name}.tar.gz", members)


def tampered(root: Path) -> bytes:
    """Check rows of which the third and the last have other predictions, by one bit."""
    write_check(booster(), make_rows(20, 3), root / "check.csv")
    rows = read_rows(root / "check.csv", 6)
    assert rows.predictions is not None
    other = rows.predictions.copy()
    other[[2, 9]] = np.nextafter(other[[2, 9]], np.float32(np.inf))
    names = [f"f{column}" for column in range(6)]
    write_rows(root / "check.csv", names, rows.cells, other)
    return (root / "check.csv").read_bytes()


def categorical(root: Path) -> Path:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"area": rng.normal(size=300), "place": pd.Categorical(rng.choice(["a,b", "c"], 300))}
    )
    matrix = xgb.DMatrix(frame, rng.integers(0, 3, 300), enable_categorical=True)
    parameters = {"objective": "multi:softprob", "num_class": 3, "nthread": 1}
    trained = xgb.train(parameters, matrix, 5)
    (root / "categorical").mkdir()
    write_check(trained, frame, root / "categorical" / "check.csv")
    return make(root, "categorical", {"model.json": trained})


def test_archives_of_every_kind_on_one_server(tmp_path) -> None:
    ubj = {"model.ubj": booster()}
    archives = [
        make(tmp_path, "plain", {**ubj, "mme.toml": 'output = "margin,leaf"'}, check=0),
        categorical(tmp_path),
        make(tmp_path, "ensemble", {"m-0.ubj": booster(0), "m-1.ubj": booster(1)}),
        make(tmp_path, "other", {**ubj, "check.csv": tampered(tmp_path)}),
        make(tmp_path, "of-another", ubj, check=1),
        make(tmp_path, "nested", {"model/model.ubj": booster()}),
        make(tmp_path, "code", {**ubj, "code/inference.py": "model_warmup_fn = print"}, check=0),
        make(tmp_path, "shows", {**ubj, "code/inference.py": OUTPUT}, check=0),
        make(tmp_path, "silent", {**ubj, "code/inference.py": OUTPUT}),
        make(tmp_path, "broken", {**ubj, "code/inference.py": "import no_such_module"}),
        tmp_path / "missing.tar.gz",
    ]
    (tmp_path / "no.tar.gz").write_bytes(b"x")
    archives.append(tmp_path / "no.tar.gz")
    seen: list[Verdict] = []

    verdicts = verify(archives, on_done=seen.append)

    assert seen == verdicts
    found = {verdict.archive.name.removesuffix(".tar.gz"): verdict for verdict in verdicts}
    assert [verdict.archive for verdict in verdicts] == archives
    for name in ("plain", "categorical"):
        assert (found[name].status, found[name].rows) == ("ok", 10), found[name]
        assert found[name].compared == (TRAINER, HERE)
    assert (found["ensemble"].status, found["ensemble"].rows) == ("ok", 1)
    assert found["ensemble"].compared == (HERE,)

    difference = found["other"].difference
    assert found["other"].status == "differs"
    assert difference is not None
    assert (difference.row, difference.rows, difference.against) == (3, 2, TRAINER)
    assert np.nextafter(np.float32(difference.answered), np.inf) == difference.expected
    shown = [json.dumps(float(f"{value:.9g}")) for value in difference.answered]
    assert str(difference).startswith(f"row 3: the server answers {shown[0]}, {TRAINER} ")
    assert str(difference).endswith(" (2 rows differ)")
    assert found["of-another"].status == "differs"
    assert found["of-another"].compared == (TRAINER,)

    assert found["code"].status == "ok"
    assert found["code"].compared == (TRAINER,)
    assert (found["shows"].status, found["shows"].compared) == ("ok", ())
    assert found["shows"].answers == "{}"
    assert found["shows"].reason is not None
    assert "nothing to compare with" in found["shows"].reason
    assert "give --data" in (found["silent"].reason or "")

    for name, reason in {
        "nested": "the archive holds no model file",
        "broken": "inference.py cannot be imported: .*no_such_module",
        "missing": "missing.tar.gz cannot be read: No such file",
        "no": "no.tar.gz cannot be extracted",
    }.items():
        assert found[name].status == "failed"
        assert re.search(reason, found[name].reason or ""), found[name]


def test_data_that_is_none_is_told_before_a_server_is_started(tmp_path) -> None:
    (tmp_path / "rows.csv").write_text("")
    with pytest.raises(UserError, match=r"rows\.csv has no rows"):
        verify([tmp_path / "a.tar.gz"], tmp_path / "rows.csv")
