"""moto's server with one bucket, and what runs training jobs against it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from mme_local.aws.clients import Clients
from support.aws import REGION, aws, reset
from support.local_jobs import BUCKET, Jobs


@pytest.fixture(scope="session")
def aws_endpoint() -> Iterator[str]:
    """moto's server."""
    with aws() as endpoint:
        yield endpoint


@pytest.fixture
def clients(aws_endpoint: str) -> Iterator[Clients]:
    """Clients of an AWS that has one bucket."""
    made = Clients(aws_endpoint, REGION)
    made.client("s3").create_bucket(Bucket=BUCKET)
    yield made
    reset(aws_endpoint)


@pytest.fixture
def jobs(clients: Clients, tmp_path: Path) -> Jobs:
    """Runs jobs; Chicago's houses are in S3."""
    jobs = Jobs(clients, tmp_path)
    jobs.put_houses("Chicago_IL")
    return jobs
