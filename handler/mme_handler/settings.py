"""Every setting: its name, environment variable, default and meaning, in one place.

Names that begin with ``SAGEMAKER_`` are SageMaker's own, or those of AWS's serving containers.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

# MMS takes the port number for a signed 16-bit one and refuses 32,767 and above.
_HIGHEST_PORT = 32766


def parse_bytes(value: Any) -> Any:
    """Read ``300m``, ``1.5g``, ``1GiB`` or a plain number as bytes (units are powers of 1,024)."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([bkmg]?)(?:i?b)?\s*", value.lower())
    if not match:
        raise ValueError(f"{value!r} is not a size: write bytes, or a number with k, m or g")
    return int(float(match[1]) * _UNITS[match[2]])


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

    multi_model: bool = _environment("SAGEMAKER_MULTI_MODEL", default=True)
    """Whether models come and go by request; SageMaker sets it for a multi-model endpoint."""

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
        "MME_MODEL_TIMEOUT", "SAGEMAKER_MODEL_SERVER_TIMEOUT", default=60.0, gt=0
    )
    """Seconds that a load or an invocation may take before its process is ended."""

    workers_per_model: int = _environment("SAGEMAKER_MODEL_SERVER_WORKERS", default=1, ge=1)
    """Requests that MMS sends at a time to one model, each over its own connection."""

    max_payload_mb: int = _environment("SAGEMAKER_MAX_PAYLOAD_IN_MB", default=6, ge=1, le=2000)
    """Largest request and largest answer, in MiB."""

    default_accept: str = _environment(
        "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", default="application/json"
    )
    """Content type of an answer when the client accepts any."""

    log_format: Literal["text", "json"] | None = _environment("MME_LOG_FORMAT", default=None)
    """``text`` or ``json``; by default text on a terminal and JSON otherwise."""

    log_requests: bool = _environment("MME_LOG_REQUESTS", default=False)
    """Whether each successful invocation gets a line too."""

    @model_validator(mode="after")
    def _keep_to_the_safe_ports(self) -> Settings:
        if self.safe_port_range is None or "metrics_port" in self.model_fields_set:
            return self
        first, last = map(int, self.safe_port_range.split("-"))
        free = (port for port in range(first, last + 1) if port != self.port)
        self.metrics_port = next(free, 0)
        return self

    @property
    def local_address(self) -> str:
        """Where this machine itself reaches `address`."""
        return "127.0.0.1" if self.address == "0.0.0.0" else self.address  # noqa: S104

    @property
    def max_payload(self) -> int:
        """Largest request and answer, in bytes."""
        return self.max_payload_mb << 20
