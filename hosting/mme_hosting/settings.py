"""What `mme.yaml` says of an endpoint; environment variables and flags go before it.

A setting of the file has the environment variable ``MME_DEPLOY_`` and its name in capitals, with
two underscores where it is within another: ``MME_DEPLOY_AUTOSCALING__MAX``.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from mme_hosting.errors import HostingError

FILE: Final = Path("mme.yaml")
PREFIX: Final = "MME_DEPLOY_"

_LONGEST_NAME: Final = 50  # SageMaker's 63, less what is appended for models and configurations

# Of CreateModel, which repeats all variables when it refuses one: also those that are secret.
_Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=1024)]
_Value = Annotated[str, StringConstraints(max_length=1024)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Vpc(_Section):
    """Where the containers' network interfaces are."""

    subnets: list[str] = Field(min_length=1, max_length=16, examples=[["subnet-0123456789abcdef0"]])
    """Ids, as subnet-0123456789abcdef0."""
    security_groups: list[str] = Field(
        min_length=1, max_length=5, examples=[["sg-0123456789abcdef0"]]
    )
    """Ids, as sg-0123456789abcdef0."""


class Metrics(_Section):
    """What SageMaker publishes to CloudWatch besides the metrics that every endpoint has."""

    enhanced: bool = False
    """Utilization and invocations by instance."""
    detailed: bool = False
    """Metrics of hosts and of the container as PromQL reads them. SageMaker looks for the
    container's on port 8080, where multi-model-server has none."""
    publish_seconds: Literal[10, 30, 60, 120, 180, 240, 300] = 60
    """Seconds between two values."""


class Autoscaling(_Section):
    """Target tracking on invocations per instance and minute."""

    min: int = Field(1, ge=1)
    """Instances at least."""
    max: int = Field(4, ge=1)
    """Instances at most."""
    invocations_per_instance: float = Field(1000.0, gt=0)
    """Invocations a minute that an instance is to have."""
    scale_out_cooldown: int = Field(300, ge=0)
    """Seconds after more instances were added, before any more are."""
    scale_in_cooldown: int = Field(600, ge=0)
    """Seconds after instances were added or removed, before any are removed."""

    @model_validator(mode="after")
    def _ordered(self) -> Autoscaling:
        if self.max < self.min:
            raise ValueError(f"max {self.max} is less than min {self.min}")
        return self


class Alarms(_Section):
    """Alarms of CloudWatch; a threshold of null makes none."""

    notify: str | None = Field(
        None,
        pattern=r"^arn:[\w-]+:sns:\S+$",
        examples=["arn:aws:sns:us-east-1:123456789012:on-call"],
    )
    """ARN of the SNS topic that is told."""
    server_errors: float | None = Field(5.0, ge=0)
    """More than so many invocations a minute that end in a 5xx, for 3 minutes."""
    latency_ms: float | None = Field(1000.0, gt=0)
    """99 of 100 invocations take longer than this many milliseconds in the container, for 5 minutes
    of 10."""
    cache_hit: float | None = Field(0.5, ge=0, le=1)
    """Share of invocations that find their model loaded is less than this, for 15 minutes."""
    memory_percent: float | None = Field(95.0, gt=0)
    """Percent of an instance's memory in use, at most, for 15 minutes."""
    disk_percent: float | None = Field(90.0, gt=0)
    """Percent of an instance's disk in use, at most, for 15 minutes."""


class HealthCheck(_Section):
    """A request that must be answered before a deployment counts as done."""

    model: str = Field(examples=["Chicago_IL"])
    """Name of a model that is there."""
    file: Path = Field(examples=["payload.csv"])
    """Its request."""
    content_type: str | None = Field(None, examples=["text/csv"])
    """Of the request; by default by the file's suffix."""


class Deployment(BaseSettings):
    """One endpoint, and all that belongs to it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,  # the schema and mme init say what stands here
    )

    name: str = Field(
        pattern=r"^[A-Za-z0-9](-?[A-Za-z0-9])*$", max_length=_LONGEST_NAME, examples=["houses"]
    )
    """Of the endpoint; what is made for it begins with it."""
    region: str | None = Field(None, examples=["us-east-1"])
    """By default as AWS's tools find it."""
    models: str | None = Field(
        None, pattern=r"^s3://[a-z0-9][a-z0-9.-]+(/.*)?$", examples=["s3://bucket/houses/models/"]
    )
    """Prefix in S3 below which the models' archives are; by default
    s3://sagemaker-REGION-ACCOUNT/NAME/models/."""
    role: str | None = Field(
        None,
        pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]+$",
        examples=["arn:aws:iam::123456789012:role/SageMakerRole"],
    )
    """ARN of the execution role that the containers have; by default AWS_SAGEMAKER_ROLE of the
    environment."""
    image: str | None = Field(
        None, examples=["123456789012.dkr.ecr.us-east-1.amazonaws.com/xgboost-mme:0.1.0-cpu"]
    )
    """URI of the image; by default that of this version which mme push has pushed."""
    instance_type: str = Field("ml.m5.large", pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$")
    """Of each instance."""
    instances: int = Field(1, ge=1)
    """How many; with autoscaling, to begin with."""
    environment: dict[_Variable, _Value] = Field(
        default_factory=dict, max_length=100, examples=[{"MME_HOSTS": "2"}]
    )
    """Environment variables of the containers: the server's settings."""
    cache_models: bool = True
    """Whether a model stays loaded after it was invoked."""
    network_isolation: bool = False
    """Whether the containers have no network at all."""
    vpc: Vpc | None = None
    """By default in no network of yours."""
    kms_key: str | None = Field(
        None, pattern=r"^[A-Za-z0-9:/_-]+$", max_length=2048, examples=["alias/models"]
    )
    """Key, by its ARN, id or alias, for the instances' volumes and uploaded archives."""
    volume_gb: int | None = Field(None, ge=1, le=512, examples=[50])
    """Size of the volume for models that are not loaded; instance types with a disk take none."""
    startup_seconds: int | None = Field(None, ge=60, le=3600, examples=[600])
    """Seconds within which a container must be healthy; SageMaker's default is 480."""
    inference_ami: str | None = Field(None, examples=["al2-ami-sagemaker-inference-gpu-2"])
    """Name of the machine image of GPU instances, which decides on the driver."""
    metrics: Metrics = Metrics()
    """By default nothing more."""
    autoscaling: Autoscaling | None = None
    """By default the number of instances stays."""
    alarms: Alarms | None = None
    """By default there are none."""
    health_check: HealthCheck | None = None
    """By default SageMaker's own checks are enough."""
    tags: dict[str, str] = Field(default_factory=dict, examples=[{"team": "prices"}])
    """Of everything that is made."""


def load(file: Path | None = None, flags: Mapping[str, Any] = {}) -> Deployment:
    """What the file, the environment and the flags say, each over the one before.

    Args:
        file: by default ``mme.yaml`` here, which need not be there if the environment or the flags
            say what it would.
        flags: settings by name; None is one that was not given.

    Raises:
        HostingError: the file cannot be read, or a setting is unknown or wrong: which, and where.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        from_environment = EnvSettingsSource(Deployment)()
    except SettingsError as error:
        raise HostingError(f"the environment: {error}") from None
    _check_environment()
    merged = _over(_over(read(file), from_environment), given)
    return check(merged, f"{file or FILE}, {PREFIX}* or flags")


def check(values: Mapping[str, Any], where: str) -> Deployment:
    """The settings that `values` are.

    Raises:
        HostingError: one is unknown or wrong: which, and `where` they come from.
    """
    # These would be arguments of the settings' own constructor, such as the file for variables.
    odd = [name for name in values if not isinstance(name, str) or name.startswith("_")]
    mistakes = [f"{name} is not a setting{_hint(str(name))}" for name in odd]
    try:
        found = Deployment.model_validate(
            {name: value for name, value in values.items() if name not in odd}
        )
    except ValidationError as error:
        mistakes += map(_mistake, error.errors())
    if mistakes:
        raise HostingError(f"{where}: {' '.join('; '.join(mistakes).split())}")
    return found


def read(file: Path | None = None) -> dict[str, Any]:
    """The file's content, unchecked; nothing where there is no file and none was named.

    Raises:
        HostingError: it cannot be read, or is no mapping in YAML.
    """
    path = file or FILE
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        if file is None:
            return {}
        raise HostingError(f"there is no {path}: mme init writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise HostingError(f"{path} cannot be read: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise HostingError(f"{path} is not YAML{_where(error)}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise HostingError(f"{path} is not settings, a line each: mme init writes such a file")
    return content


def _where(error: Exception) -> str:
    """Where it is not YAML, and why, without the file's own words: one may be secret."""
    if not isinstance(error, yaml.MarkedYAMLError) or not error.problem_mark:
        return ""
    mark = error.problem_mark
    why = re.sub(r"'[^']{2,}'", "...", error.problem or "")
    return f" in line {mark.line + 1}, column {mark.column + 1}: {' '.join(why.split())}"


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The settings `above` laid over those `below`, also within sections."""
    result = dict(below)
    for name, value in above.items():
        under = result.get(name)
        both = isinstance(under, Mapping) and isinstance(value, Mapping)
        result[name] = _over(under, value) if both else value  # type: ignore[arg-type]
    return result


def _check_environment() -> None:
    for variable in os.environ:
        if variable.startswith(PREFIX):
            name = variable.removeprefix(PREFIX).partition("__")[0].lower()
            if name not in Deployment.model_fields:
                raise HostingError(
                    f"the environment variable {variable} is not a setting{_hint(name)}"
                )


def _mistake(found: Any) -> str:
    name = ".".join(map(str, found["loc"]))
    match found["type"]:
        case "missing":
            return f"{name} is not given (mme init writes a file with it)"
        case "extra_forbidden":
            return f"{name} is not a setting{_hint(str(found['loc'][-1]), found['loc'][:-1])}"
        case "string_pattern_mismatch" if example := _example(found["loc"]):
            return f"{name}: {found['msg']}, as {example} does"
        case "string_type":
            return f"{name}: {found['msg']}: write it in quotes"
        case _:
            return f"{name}: {found['msg']}"


def _example(location: tuple[Any, ...]) -> Any:
    """What a setting could be; None where that is not known."""
    field = _fields(location[:-1]).get(location[-1])
    if field is None:
        return None
    return field.examples[0] if field.examples else field.default


def _fields(within: tuple[Any, ...]) -> dict[str, Any]:
    """The settings of a section, or of the file; none of what is no section."""
    fields: Any = Deployment.model_fields
    for part in within:
        section = fields[part].annotation if part in fields else None
        section = next((each for each in get_args(section) if each is not NoneType), section)
        fields = getattr(section, "model_fields", {})
    return dict(fields)


def _hint(name: str, within: tuple[Any, ...] = ()) -> str:
    fields = _fields(within)
    near = difflib.get_close_matches(name, fields, 1, 0.6)
    return f": did you mean {near[0]}?" if near else f": known are {', '.join(fields)}"
