"""boto3 clients of the AWS services around the local SageMaker, and of no others."""

from __future__ import annotations

import threading
from typing import Any, Final

import boto3
from botocore.config import Config

_SESSION: Final = "SageMaker"
"""What SageMaker calls its sessions of execution roles."""


class Clients:
    """One client for each service, made once; any thread may use them.

    They are the account's root's, who may do everything.

    Args:
        endpoint: URL of moto's server.
        region: of the clients.
    """

    def __init__(self, endpoint: str, region: str) -> None:
        self.endpoint = endpoint
        self.region = region
        self._session: Any = None
        self._clients: dict[str, Any] = {}
        self._roles: dict[str, Clients] = {}
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
                if self._session is None:
                    self._session = self._signed_in()
                made = self._session.client(service, endpoint_url=self.endpoint, config=config)
                # Now, and not by the first two threads that want them: each would make its own,
                # and what one of them raises the other would not catch.
                _ = made.exceptions
                self._clients[service] = made
            return self._clients[service]

    def assuming(self, role: str) -> Clients:
        """The clients of a role, by its ARN; it is assumed when the first of them is made."""
        with self._lock:
            if role not in self._roles:
                self._roles[role] = _RoleClients(self, role)
            return self._roles[role]

    def _signed_in(self) -> Any:
        return boto3.session.Session(
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - moto takes any
            region_name=self.region,
        )


class _RoleClients(Clients):
    def __init__(self, root: Clients, role: str) -> None:
        super().__init__(root.endpoint, root.region)
        self._root = root
        self._role = role

    def _signed_in(self) -> Any:
        sts = self._root.client("sts")
        keys = sts.assume_role(RoleArn=self._role, RoleSessionName=_SESSION)["Credentials"]
        return boto3.session.Session(
            keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], self.region
        )
