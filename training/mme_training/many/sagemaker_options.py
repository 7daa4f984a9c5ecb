"""What the user decides about the training jobs: where they run, on what, and how many at once."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, StringConstraints, model_validator

AT_ONCE: Final = 10
JOB_PREFIX: Final = "mme"

_Arn = Annotated[
    str, StringConstraints(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/[A-Za-z0-9_+=,.@/-]+$")
]
_JobPrefix = Annotated[
    str, StringConstraints(pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9])*$", max_length=20)
]
_S3Prefix = Annotated[
    str, StringConstraints(pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?$")
]


class SageMakerOptions(BaseModel):
    """Options of the SageMaker engine; what is wrong with them is said before any call."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: _Arn
    """ARN of the role that the jobs run as."""
    image: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    """The training image in ECR, with its tag or digest."""
    s3_prefix: _S3Prefix
    """Where rows, checkpoints and artifacts go: ``s3://bucket/prefix``."""
    instance_type: Annotated[str, StringConstraints(pattern=r"^ml\.")] = "ml.m5.large"
    volume_gb: PositiveInt = 10
    input_mode: Literal["File", "FastFile"] = "File"
    at_once: PositiveInt | None = None
    """Jobs running at a time; default: `AT_ONCE`, or as many as the quota allows without `wait`."""
    retries: Annotated[int, Field(ge=0, le=20)] = 1
    """How often a segment whose job failed or was stopped is tried again."""
    max_runtime: PositiveInt = 3600
    """Seconds after which SageMaker stops a job."""
    spot: bool = False
    max_wait: PositiveInt | None = None
    """Seconds for a spot job with all its waiting; default: twice `max_runtime`."""
    wait: bool = True
    """Whether to wait for the jobs; without, the next run takes up what has ended."""
    poll: Annotated[float, Field(gt=0)] = 10.0
    """Seconds between two looks at the jobs."""
    job_prefix: _JobPrefix = JOB_PREFIX
    """What the names of all jobs begin with; a run that is to be resumed must keep it."""
    models_prefix: _S3Prefix | None = None
    """Where finished archives are copied to for a multi-model endpoint."""
    kms_key: str | None = None
    """Encrypts rows, artifacts and the volume."""
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    network_isolation: bool = False
    tags: dict[str, str] = {}
    region: str | None = None
    """Default: that of the environment or of the AWS configuration."""

    @model_validator(mode="after")
    def _together(self) -> SageMakerOptions:
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("subnets and security groups are given together or not at all")
        if self.max_wait and not self.spot:
            raise ValueError("max_wait is for spot jobs: give spot too")
        if self.max_wait and self.max_wait < self.max_runtime:
            raise ValueError("max_wait must not be below max_runtime, which it includes")
        return self

    @property
    def limit(self) -> int | None:
        """Jobs that may run at a time; None for as many as the quota allows."""
        return self.at_once or (AT_ONCE if self.wait else None)

    @property
    def version(self) -> str:
        """The version that the image's tag begins with, such as ``3.1.2``; empty if it has none."""
        tag = self.image.partition("@")[0].rpartition("/")[2].partition(":")[2]
        found = re.match(r"v?(\d+(?:\.\d+)+)", tag)
        return found[1] if found else ""


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Take ``s3://bucket/some/key`` apart; a slash at the end is dropped."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key.rstrip("/")


def problems(errors: list[Any]) -> str:
    """What pydantic found wrong, in one line; takes ``error.errors()``."""
    said = []
    for error in errors:
        name = ".".join(map(str, error["loc"]))
        reason = _REASONS.get(name, error["msg"].removeprefix("Value error, "))
        said.append(f"{name}: {reason}" if name else reason)
    return "; ".join(said)


_REASONS: Final = {
    "role": "must be a role's ARN, such as arn:aws:iam::123456789012:role/training",
    "s3_prefix": "must look like s3://bucket/prefix",
    "models_prefix": "must look like s3://bucket/prefix",
    "job_prefix": "takes letters, digits and hyphens between them, 20 at most",
    "instance_type": "must be a SageMaker instance type, such as ml.m5.large",
}
