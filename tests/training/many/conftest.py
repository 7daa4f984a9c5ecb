"""SageMaker and S3 for the engine: moto's, behind a server that has its moods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from support.aws import aws, reset
from support.sagemaker import (
    BusySageMaker,
    busy_sagemaker,
)
from support.sagemaker_bench import Bench


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with aws() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def s3(moto: str) -> Any:
    return boto3.session.Session().client("s3")


@pytest.fixture
def busy(moto: str, s3: Any) -> Iterator[BusySageMaker]:
    reset(moto)
    s3.create_bucket(Bucket="rows")
    with busy_sagemaker(moto) as server:
        yield server


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
