"""The models that are loaded, and the request that is sent to them.

A model is loaded by a name of its own, 64 hexadecimal digits, from a directory as SageMaker names
it: ``/opt/ml/models/<name>/model``. One artifact gives any number of them.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import xgboost as xgb

from mme_training.archives.pack import unpack
from mme_training.houses import FEATURES, LABEL, make_houses

HOUSE: Final = b"1995,3000,3,2.5,1.0,2\n"
"""A row for the models that the suite brings: the features of a house."""

_ECHO: Final = '''\
"""Answers with the digest of what it was sent: so the suite sees whether a body came as it was."""

import hashlib


def transform_fn(model, body, content_type, accept):
    body = body.encode() if isinstance(body, str) else bytes(body)
    return hashlib.sha256(body).hexdigest()
'''


class ModelsError(ValueError):
    """No models can be made of what was given."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model by the name and the directory that it is loaded with."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Payload:
    """A request that every model answers with 200."""

    body: bytes = HOUSE
    content_type: str = "text/csv"
    accept: str = "text/csv"


class Models:
    """Gives models to load, and directories that are none.

    Args:
        seen_at: what the server calls the directory of the models; those of the suite are written
            to `root`, which is the same directory.
        root: see there; None if the server's directory cannot be written, and `given` is all.
        given: directories of models as the server sees them, or as this machine does with `root`.
    """

    def __init__(self, seen_at: str, root: Path | None, given: list[Path]) -> None:
        self.seen_at = seen_at.rstrip("/")
        self.root = root
        self.own = not given
        self._given = given
        self._turns: Iterator[Path] = itertools.cycle(given)

    def fresh(self, large: bool = False) -> Model:
        """A model with a name that nothing was loaded by.

        Args:
            large: one that soon fills memory, if there is a choice.
        """
        name = secrets.token_hex(32)
        if self.root is None:
            return Model(name, str(next(self._turns)))
        source = self._artifact("large" if large else "small") if self.own else next(self._turns)
        return Model(name, self._place(name, source))

    def echo(self) -> Model | None:
        """A model with code that tells what it was sent; None if none can be brought."""
        if self.root is None:
            return None
        name = secrets.token_hex(32)
        return Model(name, self._place(name, self._artifact("echo")))

    def nothing(self) -> Model:
        """A model whose directory is not there."""
        name = secrets.token_hex(32)
        return Model(name, f"{self.seen_at}/{name}/model")

    def empty(self) -> Model | None:
        """A model whose directory holds a text file alone; None if it cannot be written."""
        if self.root is None:
            return None
        model = self.nothing()
        (self.root / model.name / "model").mkdir(parents=True)
        (self.root / model.name / "model/README.md").write_text("Nothing to load is in here.\n")
        return model

    def renamed(self, model: Model) -> Model:
        """The same directory under another name."""
        return Model(secrets.token_hex(32), model.url)

    def _place(self, name: str, source: Path) -> str:
        """Where the server finds the artifact: hard links, as many as are wanted cost nothing."""
        target = _writable(self.root) / name / "model"
        shutil.copytree(source, target, copy_function=os.link)
        return f"{self.seen_at}/{name}/model"

    def _artifact(self, kind: str) -> Path:
        """The suite's own artifacts, made when they are first wanted."""
        directory = _writable(self.root) / ".artifacts" / kind
        if not directory.exists():
            directory.mkdir(parents=True)
            train(large=kind == "large").save_model(directory / "model.ubj")
            if kind == "echo":
                (directory / "code").mkdir()
                (directory / "code/inference.py").write_text(_ECHO)
        return directory


def _writable(root: Path | None) -> Path:
    if root is None:
        raise ValueError("nothing can be written where the server loads from")
    return root


def train(large: bool = False) -> xgb.Booster:
    """A model of house prices: of 20 trees, or of so many that a file is some 13 MB."""
    houses = make_houses("Chicago_IL", 2000 if large else 500)
    matrix = xgb.DMatrix(houses[list(FEATURES)].to_numpy(np.float32), houses[LABEL])
    parameters = {"max_depth": 12 if large else 4, "eta": 0.2, "nthread": 1}
    booster = xgb.train(parameters, matrix, 5 if large else 20)
    return _repeated(booster, 120) if large else booster


def _repeated(booster: xgb.Booster, times: int) -> xgb.Booster:
    """All trees of it so many times: training as many would take the time that this saves."""
    document = json.loads(booster.save_raw("json"))
    forest = document["learner"]["gradient_booster"]["model"]
    trees = [dict(tree, id=number) for number, tree in enumerate(forest["trees"] * times)]
    forest["trees"], forest["tree_info"] = trees, [0] * len(trees)
    forest["iteration_indptr"] = list(range(len(trees) + 1))
    forest["gbtree_model_param"]["num_trees"] = str(len(trees))
    return xgb.Booster(model_file=bytearray(json.dumps(document).encode()))


def find(directory: Path) -> list[Path]:
    """The models in a directory: archives, and directories as they are once unpacked.

    ``directory/<name>/model`` is one, as SageMaker lays it out, and so is ``directory/<name>``.

    Raises:
        ModelsError: there are none.
    """
    found = []
    for entry in sorted(directory.iterdir()):
        if entry.is_dir() and not entry.name.startswith("."):
            inner = entry / "model"
            found.append(inner if inner.is_dir() and len(list(entry.iterdir())) == 1 else entry)
        elif entry.name.endswith((".tar.gz", ".tgz")):
            found.append(entry)
    if not found:
        raise ModelsError(f"{directory} holds no directory and no .tar.gz of a model")
    return found


def copied(models: list[Path], scratch: Path) -> list[Path]:
    """The models, unpacked below `scratch`, for anybody to read.

    Raises:
        mme_training.archives.pack.ArchiveError: an archive is none, or unsafe.
        OSError: one of them cannot be read.
    """
    copies = []
    for number, model in enumerate(models):
        target = scratch / f"{number:05}"
        if model.is_dir():
            shutil.copytree(model, target)
        else:
            unpack(model, target)
        for path in [target, *target.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        copies.append(target)
    return copies
