"""Every setting: its name, environment variable, default and meaning, in one place.

Names that begin with ``SAGEMAKER_`` are SageMaker's own, or those of AWS's serving containers.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

_MOST_BYTES = 1 << 60

# MMS takes the port number for a signed 16-bit one and refuses 32,767 and above.
_HIGHEST_PORT = 32766


def parse_bytes(value: Any) -> Any:
    """Read ``300m``, ``1.5g``, ``1GiB`` or a plain number as bytes (units are powers of 1,024)."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([bkmg]?)(?:i?b)?\s*", value.lower())
    if not match:
        raise ValueError(f"{value!r} is not a size: write bytes, or a number with k, m or g")
    size = float(match[1]) * _UNITS[match[2]]
    if size > _MOST_BYTES:
        raise ValueError(f"{value:.40} is more than any machine has")
    return int(size)


Bytes = Annotated[int, BeforeValidator(parse_bytes)]


def _environment(*names: str, **rest: Any) -> Any:
    return Field(validation_alias=AliasChoices(*names), **rest)


class Settings(BaseSettings):
    """The server's settings, from the environment; the command line may replace some."""

    model_config = SettingsConfigDict(populate_by_name=True, extra="ignore", env_ignore_empty=True)

    port: int = _environment("SAGEMAKER_BIND_TO_PORT", default=8080, ge=1, le=_HIGHEST_PORT)
    """HTTP port of MMS: inference and model management."""

    address: str = _environment("MME_ADDRESS", default="0.0.0.0")  # noqa: S104
    """Address that MMS and the metrics listen on; a container must be reachable from outside."""

    safe_port_range: str | None = _environment(
        "SAGEMAKER_SAFE_PORT_RANGE", default=None, pattern=r"^\d+-\d+$"
    )
    """Ports, ``first-last`` inclusive, that a container in a pipeline may use besides `port`."""

    metrics_port: int = _environment("MME_METRICS_PORT", default=8082, ge=0, le=65535)
    """Port of the Prometheus metrics; with `safe_port_range`, by default the first free of it."""

    multi_model: bool | None = _environment("SAGEMAKER_MULTI_MODEL", default=None)
    """Whether models come and go by request; SageMaker sets it for a multi-model endpoint.

    By default so, unless there is a model at `model`.
    """

    model: Path = _environment("MME_MODEL", default=Path("/opt/ml/model"))
    """Directory of the one model that is served where models do not come and go."""

    models: Path = _environment("MME_MODELS", default=Path("/"))
    """Only models below this directory can be loaded."""

    hosts: int = _environment("MME_HOSTS", default_factory=lambda: os.cpu_count() or 1, ge=1)
    """Processes that serve plain models; one for each CPU."""

    isolation: Literal["auto", "process"] = _environment("MME_ISOLATION", default="auto")
    """``auto``: only models with code get a process of their own; ``process``: every model."""

    memory_budget: Bytes | None = _environment("MME_MEMORY_BUDGET", default=None, ge=1)
    """Bytes that the whole server may use; by default what the cgroup or the machine has."""

    model_memory_limit: Bytes | None = _environment("MME_MODEL_MEMORY_LIMIT", default=None, ge=1)
    """Bytes that a model with code may allocate; by default a quarter of the budget."""

    model_timeout: float = _environment(
        "MME_MODEL_TIMEOUT",
        "SAGEMAKER_MODEL_SERVER_TIMEOUT",
        "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS",
        default=60.0,
        gt=0,
    )
    """Seconds that a load or an invocation may take before its process is ended."""

    workers: int | None = _environment("SAGEMAKER_MODEL_SERVER_WORKERS", default=None, ge=1)
    """Requests that MMS sends at a time to one model, each over its own connection.

    By default 1; for a single model as many as hosts.
    """

    max_payload_mb: int = _environment("SAGEMAKER_MAX_PAYLOAD_IN_MB", default=6, ge=1, le=2000)
    """Largest request and largest answer, in MiB."""

    default_accept: str = _environment(
        "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", default="application/json"
    )
    """Content type of an answer when the client accepts any; text/csv in a batch transform."""

    batch: bool = _environment("SAGEMAKER_BATCH", default=False)
    """Whether this is a batch transform; SageMaker sets it."""

    inference_output: str | None = _environment("SAGEMAKER_INFERENCE_OUTPUT", default=None)
    """Names of outputs to answer with, separated by commas; by default the prediction."""

    inference_ensemble: bool = _environment("SAGEMAKER_INFERENCE_ENSEMBLE", default=True)
    """Whether all model files of an archive answer together, or the first alone."""

    response_shape: Literal["standard", "aws"] = _environment(
        "MME_RESPONSE_SHAPE", default="standard"
    )
    """``aws``: predictions as AWS's XGBoost image writes them in multi-model mode."""

    libsvm_index_base: Literal[0, 1] = _environment("MME_LIBSVM_INDEX_BASE", default=0)
    """The index of the first feature in text/libsvm."""

    device: Literal["auto", "cpu", "cuda"] = _environment("MME_DEVICE", default="auto")
    """Where to predict; ``auto`` is the GPU if there is one."""

    allow_pickle: bool = _environment("MME_ALLOW_PICKLE", default=False)
    """Whether models that are Python pickles are loaded, each in a process of its own."""

    install_requirements: bool = _environment("MME_INSTALL_REQUIREMENTS", default=False)
    """Whether what a model's requirements.txt names is installed when the model is loaded."""

    submit_directory: Path | None = _environment("SAGEMAKER_SUBMIT_DIRECTORY", default=None)
    """Directory of the code for models that bring none."""

    program: str = _environment("SAGEMAKER_PROGRAM", default="inference.py")
    """Name of the file that defines the handler functions, in a model's code directory."""

    log_format: Literal["text", "json"] | None = _environment("MME_LOG_FORMAT", default=None)
    """``text`` or ``json``; by default text on a terminal and JSON otherwise."""

    log_requests: bool = _environment("MME_LOG_REQUESTS", default=False)
    """Whether each successful invocation gets a line too."""

    @field_validator("libsvm_index_base", mode="before")
    @classmethod
    def _as_number(cls, value: Any) -> Any:
        return int(value) if value in ("0", "1") else value

    @field_validator("program")
    @classmethod
    def _with_suffix(cls, value: str) -> str:
        return value if value.endswith(".py") else f"{value}.py"

    @field_validator("inference_output")
    @classmethod
    def _known_outputs(cls, value: str | None) -> str | None:
        if value is not None:
            from mme_handler.models import outputs  # numpy, which the settings alone do not need

            outputs.parse(value)
        return value

    @model_validator(mode="after")
    def _accept_lines_in_a_batch(self) -> Settings:
        if self.batch and "default_accept" not in self.model_fields_set:
            self.default_accept = "text/csv"
        return self

    @model_validator(mode="after")
    def _keep_to_the_safe_ports(self) -> Settings:
        if self.safe_port_range is None or "metrics_port" in self.model_fields_set:
            return self
        first, last = map(int, self.safe_port_range.split("-"))
        free = (port for port in range(first, last + 1) if port != self.port)
        self.metrics_port = next(free, 0)
        return self

    @property
    def script(self) -> Path | None:
        """The code for models that bring none: `program` in `submit_directory`, if it is there."""
        script = self.submit_directory and self.submit_directory / self.program
        return script if script and script.is_file() else None

    @property
    def single_model(self) -> Path | None:
        """The one model to serve; None where models come and go."""
        if self.multi_model is None:
            return self.model if self.model.is_dir() and any(self.model.iterdir()) else None
        return None if self.multi_model else self.model

    @property
    def workers_per_model(self) -> int:
        """Requests that MMS sends at a time to one model."""
        return self.workers or (self.hosts if self.single_model else 1)

    @property
    def local_address(self) -> str:
        """Where this machine itself reaches `address`."""
        return "127.0.0.1" if self.address == "0.0.0.0" else self.address  # noqa: S104

    @property
    def max_payload(self) -> int:
        """Largest request and answer, in bytes."""
        return self.max_payload_mb << 20
