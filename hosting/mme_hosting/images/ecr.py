"""Amazon ECR: its repositories, and the way into its registry.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/Welcome.html

Where `ADDRESS_VARIABLE` is set, the calls go to ECR as ever, but images to the registry that it
names: emulators of ECR answer the calls, and none of them holds images.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mme_hosting.errors import HostingError
from mme_hosting.images.registry import Login, Registry
from mme_training.many import sagemaker_errors

ADDRESS_VARIABLE: Final = "MME_ECR_REGISTRY"

_DENIED: Final = ("AccessDenied", "AccessDeniedException", "403")
_CREATION: Final[dict[str, Any]] = {
    "imageScanningConfiguration": {"scanOnPush": True},
    "imageTagMutability": "IMMUTABLE",
}


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of ECR; `immutable` where no tag can be moved to another image."""

    name: str
    immutable: bool


class Ecr:
    """The ECR of an account in one region, with the credentials that boto3 finds.

    Args:
        region: where; by default as AWS's tools find it; AWS_REGION is read here, boto3 does not.

    Raises:
        HostingError: the profile does not exist, or no region is known.
    """

    def __init__(self, region: str | None = None) -> None:
        region = region or os.environ.get("AWS_REGION") or None
        config = Config(retries={"mode": "standard", "max_attempts": 5})
        try:
            self._client = boto3.client("ecr", region_name=region, config=config)
        except (BotoCoreError, ValueError) as error:
            raise _explain(error, "the set-up of a client", "ECR") from None

    def registry(self) -> Registry:
        """The account's registry, logged in to for the next twelve hours.

        https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html

        Raises:
            HostingError: AWS gives no token.
        """
        answer = self._call("GetAuthorizationToken", self._client.get_authorization_token, "ECR")
        data = answer["authorizationData"][0]
        username, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
        address = os.environ.get(ADDRESS_VARIABLE) or data["proxyEndpoint"]
        return Registry(address, Login(username, password))

    def repository(self, name: str) -> Repository | None:
        """The repository of this name; None if there is none.

        https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeRepositories.html

        Raises:
            HostingError: AWS does not let it be described.
        """
        try:
            answer = self._call(
                "DescribeRepositories",
                self._client.describe_repositories,
                f"the repository {name}",
                repositoryNames=[name],
            )
        except self._client.exceptions.RepositoryNotFoundException:
            return None
        return _repository(answer["repositories"][0])

    def create(self, name: str) -> Repository:
        """Create a repository, unless somebody else just has.

        Its images are scanned when they are pushed, and its tags cannot be moved: what an
        endpoint was deployed from stays what it was.

        https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html

        Raises:
            HostingError: AWS does not create it.
        """
        try:
            answer = self._call(
                "CreateRepository",
                self._client.create_repository,
                f"the repository {name}",
                repositoryName=name,
                **_CREATION,
            )
        except self._client.exceptions.RepositoryAlreadyExistsException:
            found = self.repository(name)
            if found is None:
                raise HostingError(
                    f"the repository {name} is being created and deleted at the same time by "
                    "others: try again"
                ) from None
            return found
        return _repository(answer["repository"])

    def _call(
        self, call: str, method: Callable[..., Any], resource: str, **parameters: Any
    ) -> dict[str, Any]:
        try:
            return dict(method(**parameters))
        except (
            self._client.exceptions.RepositoryNotFoundException,
            self._client.exceptions.RepositoryAlreadyExistsException,
        ):
            raise
        except (BotoCoreError, ClientError) as error:
            raise _explain(error, call, resource) from None


def _repository(found: dict[str, Any]) -> Repository:
    return Repository(found["repositoryName"], found.get("imageTagMutability") == "IMMUTABLE")


def _explain(error: Exception, call: str, resource: str) -> HostingError:
    """What went wrong, on what, and what to do about it."""
    if isinstance(error, ClientError):
        code, said = sagemaker_errors.code(error), sagemaker_errors.said(error)
        if code in _DENIED:
            return HostingError(
                f"{call} for {resource} is denied: {said} ({code}). Allow your user or role "
                f"ecr:{call}{' on *' if call == 'GetAuthorizationToken' else ''}."
            )
        if code == "LimitExceededException":
            return HostingError(
                f"{call} for {resource} failed: {said} ({code}). Delete repositories that nobody "
                "needs, or ask for more under Service Quotas, Amazon ECR."
            )
    return HostingError(str(sagemaker_errors.explain(error, call, resource)))
