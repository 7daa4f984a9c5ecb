"""Every setting of the local SageMaker, and every parameter of its multi-model platform.

What AWS does not document of its platform (the order of eviction, thresholds, retries) is a field
of `PlatformParameters`, with a default and the reason for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ACCOUNT = "123456789012"
"""The AWS account that everything belongs to; moto's default."""
ROLE_NAME = "SageMakerRole"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/{ROLE_NAME}"
"""A role that SageMaker may assume, made when the local SageMaker starts."""
ADDRESS = "127.0.0.1"
"""What everything listens on, and nothing else."""


class PlatformParameters(BaseSettings):
    """What AWS leaves undocumented of multi-model endpoints, as ``MME_LOCAL_PLATFORM_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="MME_LOCAL_PLATFORM_", extra="ignore")

    eviction: Literal["lru", "lfu"] = "lru"
    """Which idle model goes first; AWS says "unused" ones, third parties say the least recent."""

    memory_high: float = Field(default=0.95, gt=0, le=1)
    """Share of the container's memory above which idle models go before another is loaded.

    AWS: "when an instance's memory utilization is high"; a 507 has the same effect.
    """

    evictions_per_507: int = Field(default=1, ge=1)
    """Models unloaded after a 507 before the load is tried again."""

    load_attempts: int = Field(default=64, ge=1)
    """How often a load that is answered with 507 is tried before the client is told."""

    invoke_attempts: int = Field(default=3, ge=1)
    """How often an invocation is sent that finds its model unloaded, or its container gone."""

    model_ready_seconds: float = Field(default=60.0, gt=0)
    """After which a client is told ``ModelNotReadyException`` while the load goes on (AWS: 60)."""

    load_seconds: float = Field(default=360.0, gt=0)
    """After which a download and load is given up (AWS: 360)."""

    invoke_seconds: float = Field(default=60.0, gt=0)
    """That a container may take to answer an invocation (AWS: 60)."""

    spill_in_flight: int = Field(default=4, ge=1)
    """Requests under way for a model on an instance before another instance loads it too."""

    parallel_loads: int = Field(default=4, ge=1)
    """Different models that one instance downloads and loads at a time."""

    disk_bytes: int = Field(default=10 << 30, ge=1)
    """Bytes of unpacked archives that an instance keeps before unloaded ones are deleted."""

    largest_archive_bytes: int = Field(default=5 << 30, ge=1)
    """Bytes that an archive may unpack to."""

    poll_seconds: float = Field(default=5.0, gt=0)
    """Between looks at ``/ping`` and ``/models`` (seen on AWS: 5)."""

    unhealthy_polls: int = Field(default=3, ge=1)
    """Polls in a row without 200 after which a container is replaced."""

    startup_seconds: float = Field(default=480.0, gt=0)
    """Within which a container must be healthy (AWS: 8 minutes)."""

    seed: int = 0
    """Of what is chosen at random, such as the instance among equals."""


class LocalSettings(BaseSettings):
    """Settings of ``mme local up``, as ``MME_LOCAL_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="MME_LOCAL_", extra="ignore")

    port: int = Field(default=8765, ge=0, le=65535)
    """Port of SageMaker, its runtime and the page; 0 is any free one."""

    aws_port: int = Field(default=0, ge=0, le=65535)
    """Port of S3 and the other services of AWS; 0 is any free one."""

    region: str = "us-east-1"

    state: Path | None = None
    """Directory in which buckets, models and endpoints outlive the process; by default none."""

    run: Path = Path("/tmp/mme-local")  # noqa: S108
    """Directory of what is running: instances' file systems, logs, the address; owner only."""

    runtime: Literal["auto", "docker", "embedded"] = "auto"
    """What containers run as: ``auto`` is Docker where the image and an engine are there."""

    image: str = "xgboost-mme:cpu"
    """The image that stands for AWS's XGBoost image and for images of ECR with our name."""
