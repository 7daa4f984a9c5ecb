"""Terraform as it is installed, with the provider of AWS; a test without either is skipped."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

MODULE = Path(__file__).parents[2] / "hosting/terraform"

_MIRROR = (
    "let this machine reach Terraform's registry, or run `terraform providers mirror DIR` on one "
    "that can, and set TF_CLI_ARGS_init=-plugin-dir=DIR here"
)
_NO_PROVIDER = ("Failed to query available provider packages", "Failed to install provider")


def _mirrors() -> list[str]:
    """Where a machine may keep providers, besides where Terraform looks on its own."""
    found = sorted(Path("/opt").glob("*/*/hashicorp/aws"))
    return [f"-plugin-dir={found[0].parents[2]}"] if found else []


def run(directory: Path, *arguments: str) -> str:
    """What a command of Terraform prints; it fails the test if Terraform fails."""
    command = ["terraform", *arguments]
    result = subprocess.run(
        command, cwd=directory, env=_environment(), capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, f"{command}:\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result.stdout


def start(directory: Path, endpoints: Mapping[str, Mapping[str, Any]]) -> Path:
    """A configuration that calls the module, once with each of these sets of variables."""
    if not shutil.which("terraform"):
        pytest.skip(
            "terraform is not on the path: install Terraform 1.5 or later; the module's schema "
            "is tested without"
        )
    shutil.copytree(MODULE, directory / "endpoint", ignore=shutil.ignore_patterns(".terraform*"))
    call(directory, endpoints)
    try:
        run(directory, "init", "-backend=false", "-input=false", "-no-color", *_mirrors())
    except subprocess.TimeoutExpired:
        pytest.skip(f"Terraform's registry does not answer: {_MIRROR}")
    except AssertionError as error:
        if any(words in str(error) for words in _NO_PROVIDER):
            pytest.skip(f"Terraform has no provider of AWS: {_MIRROR}")
        raise
    return directory


def call(directory: Path, endpoints: Mapping[str, Mapping[str, Any]]) -> None:
    """Call the module so, from now on."""
    calls = {name: {"source": "./endpoint", **given} for name, given in endpoints.items()}
    (directory / "main.tf.json").write_text(json.dumps({"module": calls}))


def planned(directory: Path) -> dict[str, dict[str, Any]]:
    """The values that each resource is to have, by address."""
    run(directory, "plan", "-input=false", "-no-color", "-out=plan")
    plan = json.loads(run(directory, "show", "-json", "plan"))
    modules = plan["planned_values"]["root_module"]["child_modules"]
    return {each["address"]: each["values"] for module in modules for each in module["resources"]}


def _environment() -> dict[str, str]:
    return {**os.environ, "AWS_MAX_ATTEMPTS": "2", "CHECKPOINT_DISABLE": "1"}
