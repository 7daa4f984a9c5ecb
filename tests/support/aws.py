"""AWS on loopback: moto's server behind real HTTP, and the environment that leads there."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto.server import ThreadedMotoServer

REGION = "us-east-1"
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/training"

_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    # Nothing of the machine's own configuration, and no question to an instance's metadata.
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}
_REMOVED = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_SAGEMAKER")


@contextmanager
def aws() -> Iterator[str]:
    """Serve an empty S3 and SageMaker; yield the endpoint, which the environment names meanwhile.

    Processes that are started meanwhile find it too. What was made in it is gone afterwards. One
    at a time in a process: all of moto's servers there share their state.
    """
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in _REMOVED:
                patch.delenv(name, raising=False)
            for name, value in {**_ENVIRONMENT, "AWS_ENDPOINT_URL": endpoint}.items():
                patch.setenv(name, value)
            yield endpoint
            reset(endpoint)
    finally:
        server.stop()
        if server._server:
            server._server.server_close()


def reset(endpoint: str) -> None:
    """Forget all buckets, objects and jobs: cheaper than a new server for each test."""
    request = urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")
    with urllib.request.urlopen(request) as answer:
        answer.read()
