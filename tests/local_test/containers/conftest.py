"""The embedded runtime, with what every container needs."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from mme_local.containers.spec import ContainerSpec

MakeSpec = Callable[..., ContainerSpec]

# A script of script mode, which the container runs as it is.
_SHOW = """
import json, os, pathlib, sys
seen = {"environment": dict(os.environ), "cpus": len(os.sched_getaffinity(0))}
pathlib.Path(os.environ["SM_MODEL_DIR"], "seen.json").write_text(json.dumps(seen))
print("shown", flush=True)
"""


@pytest.fixture
def make_spec(tmp_path: Path) -> MakeSpec:
    """A specification: ``make_spec("train", lines, memory=..)``; `lines` takes the output."""

    def make(command: str, lines: list[str] | None = None, **rest: Any) -> ContainerSpec:
        given = {
            "name": f"test-{command}",
            "image": "xgboost-mme:cpu",
            "environment": {},
            "ml": tmp_path / "ml",
            "memory": 4 << 30,
            "cpus": 2,
            "write_line": (lambda _: None) if lines is None else lines.append,
            **rest,
        }
        (given["ml"] / "models").mkdir(parents=True, exist_ok=True)
        return ContainerSpec(command=command, **given)

    return make


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], None]:
    """Lay out a training job that runs a script: by default one that shows its environment."""

    def lay_out(program: str = _SHOW) -> None:
        ml = tmp_path / "ml"
        for name in ("input/config", "input/data/code", "model"):
            (ml / name).mkdir(parents=True, exist_ok=True)
        (ml / "input/data/code/train.py").write_text(program)
        (ml / "input/config/inputdataconfig.json").write_text(json.dumps({"code": {}}))

    return lay_out


@pytest.fixture
def run() -> Iterator[Path]:
    """A run directory whose path is as short as the usual one's."""
    with tempfile.TemporaryDirectory(prefix="mme-run-") as directory:
        yield Path(directory)
