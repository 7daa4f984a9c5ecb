"""boto3 clients of the AWS services around the local SageMaker, and of no others."""

from __future__ import annotations

import threading
from typing import Any

import boto3
from botocore.config import Config


class Clients:
    """One client for each service, made once; any thread may use them.

    Args:
        endpoint: URL of moto's server.
        region: of the clients.
    """

    def __init__(self, endpoint: str, region: str) -> None:
        self.endpoint = endpoint
        self.region = region
        self._session = boto3.session.Session(
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - moto takes any
            region_name=region,
        )
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def client(self, service: str) -> Any:
        """The client of a service, as ``client("s3")``."""
        with self._lock:
            if service not in self._clients:
                config = Config(
                    retries={"mode": "standard"},
                    max_pool_connections=32,
                    s3={"addressing_style": "path"},
                    proxies={},
                )
                self._clients[service] = self._session.client(
                    service, endpoint_url=self.endpoint, config=config
                )
            return self._clients[service]
