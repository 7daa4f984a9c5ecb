"""Where a job trains; the driver and XGBoost's CUDA code are the seam, and stand-ins here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mme_training import device
from mme_training.container import algorithm
from mme_training.container.environment import gpus
from mme_training.hyperparameters.values import Hyperparameters


def _device(monkeypatch: pytest.MonkeyPatch, **booster: str) -> object:
    monkeypatch.setattr(algorithm, "gpus", lambda: 1)
    for module in (algorithm, device):
        monkeypatch.setattr(module, "resolve", lambda wanted: "cuda")
    return algorithm._on_device(Hyperparameters(booster, 1)).booster.get("device")


@pytest.mark.parametrize("booster", [{}, {"tree_method": "hist"}, {"booster": "dart"}])
def test_a_gpu_is_used_where_there_is_one(monkeypatch, booster: dict[str, str]) -> None:
    assert _device(monkeypatch, **booster) == "cuda"


@pytest.mark.parametrize("wanted", ["cpu", "cuda:1"])
def test_the_hyperparameter_decides(monkeypatch, wanted: str) -> None:
    assert _device(monkeypatch, device=wanted) == wanted


@pytest.mark.parametrize("booster", [{"tree_method": "exact"}, {"booster": "gblinear"}])
def test_what_has_no_cuda_code_stays_on_the_cpu(monkeypatch, booster: dict[str, str]) -> None:
    assert _device(monkeypatch, **booster) is None


def test_without_a_gpu_nothing_is_set(monkeypatch) -> None:
    monkeypatch.setattr(algorithm, "gpus", lambda: 0)
    assert algorithm._on_device(Hyperparameters({}, 1)).booster == {}


def test_gpus_are_those_that_the_driver_lists(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == 0
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\n[ $1 = --list-gpus ] && echo 'GPU 0: T4 (UUID: a)' && echo 'GPU 1: T4 (b)'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    assert gpus() == 2
