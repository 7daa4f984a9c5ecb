"""What SageMaker tells a training job in its JSON files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mme_training.container.layout import Layout
from mme_training.errors import UserError

TRAIN, VALIDATION, CODE = "train", "validation", "code"

_Model = TypeVar("_Model", bound=BaseModel)


class Channel(BaseModel):
    """How the data of a channel came, by ``inputdataconfig.json``; SageMaker adds more keys."""

    model_config = ConfigDict(frozen=True, extra="allow")

    content_type: str | None = Field(None, alias="ContentType")
    input_mode: Literal["File", "FastFile", "Pipe", "Augmented"] = Field(
        "File", alias="TrainingInputMode"
    )
    distribution: str | None = Field("FullyReplicated", alias="S3DistributionType")
    record_wrapper: str | None = Field("None", alias="RecordWrapperType")


class Resources(BaseModel):
    """Which hosts there are, by ``resourceconfig.json``; SageMaker adds more keys."""

    model_config = ConfigDict(frozen=True, extra="allow")

    current_host: str = "algo-1"
    hosts: tuple[str, ...] = ("algo-1",)
    network_interface_name: str = "eth0"
    current_instance_type: str | None = None


class Checkpoints(BaseModel):
    """Where checkpoints go, by ``checkpointconfig.json``; absent where none are kept."""

    local_path: Path | None = Field(None, alias="LocalPath")


class Config(BaseModel):
    """All of it; `hyperparameters` as given, by name."""

    model_config = ConfigDict(frozen=True)

    hyperparameters: Mapping[str, Any]
    channels: Mapping[str, Channel]
    resources: Resources
    checkpoints: Path | None


def read_config(layout: Layout) -> Config:
    """Read SageMaker's files.

    Without ``checkpointconfig.json``, which SageMaker writes for jobs with a CheckpointConfig, an
    existing ``checkpoints`` directory is used.

    Raises:
        UserError: a file is missing, is no JSON, or holds something else than SageMaker writes.
    """
    hyperparameters = _read(layout.config / "hyperparameters.json", default={})
    channels = _read(layout.config / "inputdataconfig.json")
    resources = _read(layout.config / "resourceconfig.json", default={})
    checkpoints = _read(layout.config / "checkpointconfig.json", default={})
    directory = _parse(Checkpoints, checkpoints, "checkpointconfig.json").local_path
    usual = layout.root / "checkpoints"
    return Config(
        hyperparameters=hyperparameters,
        channels={
            name: _parse(Channel, value, f"inputdataconfig.json, channel {name}")
            for name, value in channels.items()
        },
        resources=_parse(Resources, resources, "resourceconfig.json"),
        checkpoints=directory or (usual if usual.is_dir() else None),
    )


def check_channels(config: Config) -> None:
    """Refuse what cannot be trained on, before anything is read.

    Raises:
        UserError: the train channel is missing, a channel is of no use, or comes by Pipe.
    """
    names = ", ".join(sorted(config.channels)) or "none"
    if TRAIN not in config.channels:
        raise UserError(f"the channel `train` is missing; the job has: {names}")
    unknown = sorted(set(config.channels) - {TRAIN, VALIDATION, CODE})
    if unknown:
        raise UserError(
            f"no use for the channel {', '.join(unknown)}: there are train, validation and code"
        )
    for name, channel in config.channels.items():
        if channel.input_mode in ("Pipe", "Augmented"):
            raise UserError(
                f"the channel {name} has input mode {channel.input_mode}: use File, or FastFile, "
                "which streams from S3 too"
            )
        if channel.record_wrapper not in (None, "None"):
            raise UserError(
                f"the channel {name} has RecordWrapperType {channel.record_wrapper}, which is for "
                "Pipe mode: leave it out"
            )


def _read(path: Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        if default is None:
            raise UserError(
                f"{path} is missing: `train` runs where SageMaker has laid out a training job"
            ) from None
        return default
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object")
    return content


def _parse(model: type[_Model], content: Any, where: str) -> _Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{where}: {place}: {first['msg']}") from error
