"""AWS as this package calls it: each failure names the call, the resource and the next step.

Where the calls go, which credentials sign them and which profile is meant is boto3's to find out:
https://docs.aws.amazon.com/boto3/latest/guide/configuration.html
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from botocore.loaders import create_loader
from botocore.parsers import ResponseParserError

from mme_hosting.errors import HostingError
from mme_training.many import sagemaker_errors

_RETRIES: Final[dict[str, Any]] = {"mode": "standard", "max_attempts": 5}
_READ_SECONDS: Final = 70  # a container may take 60 to answer an invocation
_DENIED: Final = frozenset(
    {"403", "AccessDenied", "AccessDeniedException", "Forbidden", "UnauthorizedOperation"}
)
_ABSENT: Final = frozenset(
    {
        "404",
        "NoSuchBucket",
        "NoSuchEntity",
        "NoSuchKey",
        "NotFound",
        "ObjectNotFoundException",
        "RepositoryNotFoundException",
        "ResourceNotFound",
        "ResourceNotFoundException",
        "ImageNotFoundException",
    }
)
_ABSENT_WORDS: Final = ("could not find", "does not exist", "not found")  # of SageMaker's 400s
_SERVICE_OF_ACTION: Final = {
    "sagemaker-runtime": "sagemaker",
    "service-quotas": "servicequotas",
}
_S3_ACTIONS: Final = {
    "DeleteObjects": "DeleteObject",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListObjectsV2": "ListBucket",
}
_FAILURES: Final = (BotoCoreError, ClientError, ResponseParserError, UnicodeEncodeError)
"""All that a call may raise: the third where what answers is not AWS."""


class AwsError(HostingError):
    """A call that AWS refuses or does not answer.

    `code` is AWS's name of the error, empty where no answer came; `call` is the operation;
    `members` are all that the answer has.
    """

    def __init__(
        self,
        message: str,
        *,
        call: str,
        code: str = "",
        said: str = "",
        members: Mapping[str, Any] = {},
    ) -> None:
        super().__init__(message)
        self.members = members
        self.call = call
        self.code = code
        self.said = said

    @property
    def absent(self) -> bool:
        """Whether what the call is about is not there."""
        lower = self.said.lower()
        return self.code in _ABSENT or (
            self.code == "ValidationException" and any(word in lower for word in _ABSENT_WORDS)
        )

    @property
    def denied(self) -> bool:
        """Whether the caller may not make the call."""
        return self.code in _DENIED


class Aws:
    """One account in one region.

    Args:
        region: by default as AWS's tools find it; AWS_REGION is read here, boto3 does not.

    Raises:
        HostingError: the profile does not exist, or no region is known.
    """

    def __init__(self, region: str | None = None) -> None:
        region = region or os.environ.get("AWS_REGION")
        try:
            self._session = boto3.session.Session(region_name=region or None)
        except BotoCoreError as error:
            raise _explain(error, "the set-up of a client", "AWS", "sts") from None
        if not self._session.region_name:
            raise HostingError(
                "no AWS region is known: write region: in mme.yaml, give --region, or set "
                "AWS_REGION"
            )
        self.region: str = self._session.region_name

    @functools.cached_property
    def caller(self) -> str:
        """The ARN of whoever signs the calls."""
        return str(self.call("sts", "GetCallerIdentity", "your credentials")["Arn"])

    @property
    def account(self) -> str:
        """Of 12 digits."""
        return self.caller.split(":")[4]

    @property
    def partition(self) -> str:
        """``aws``, or ``aws-cn`` and others."""
        return self.caller.split(":")[1]

    @property
    def registry(self) -> str:
        """The host of the account's registry in ECR."""
        return f"{self.account}.dkr.ecr.{self.region}.{_domain(self.partition)}"

    @functools.cache  # noqa: B019 - lives as long as the command
    def client(self, service: str) -> Any:
        """A client of a service, by boto3's name.

        Raises:
            HostingError: its configuration is wrong.
        """
        config = Config(retries=_RETRIES, read_timeout=_READ_SECONDS, max_pool_connections=32)
        try:
            return self._session.client(service, config=config)
        except (BotoCoreError, ValueError) as error:
            raise _explain(error, "the set-up of a client", service, service) from None

    def call(self, service: str, operation: str, resource: str, **request: Any) -> dict[str, Any]:
        """Make a call.

        Args:
            service: boto3's name, such as ``sagemaker``.
            operation: AWS's name, such as ``CreateModel``.
            resource: what it is about, for a failure's message, such as ``the model houses-1``.
            request: the call's parameters.

        Raises:
            AwsError: AWS refuses it, or does not answer.
        """
        try:
            return dict(getattr(self.client(service), xform_name(operation))(**request))
        except _FAILURES as error:
            raise _explain(error, operation, resource, service) from None

    def find(
        self, service: str, operation: str, resource: str, **request: Any
    ) -> dict[str, Any] | None:
        """Make a call that describes something; None if there is no such thing.

        Raises:
            AwsError: as of `call`, for every other reason.
        """
        try:
            return self.call(service, operation, resource, **request)
        except AwsError as error:
            if error.absent:
                return None
            raise

    def pages(
        self, service: str, operation: str, resource: str, **request: Any
    ) -> Iterator[dict[str, Any]]:
        """Make a call that lists something; yield each page.

        Raises:
            AwsError: as of `call`.
        """
        paginator = self.client(service).get_paginator(xform_name(operation))
        try:
            yield from paginator.paginate(**request)
        except _FAILURES as error:
            raise _explain(error, operation, resource, service) from None


def _domain(partition: str) -> str:
    """Where a partition's services are, as botocore knows it: ``amazonaws.com`` for ``aws``."""
    partitions = create_loader().load_data("partitions")["partitions"]
    found = {each["id"]: each["outputs"]["dnsSuffix"] for each in partitions}
    return str(found.get(partition, found["aws"]))


def _explain(error: Exception, call: str, resource: str, service: str) -> AwsError:
    """What went wrong, on what, and what to do about it."""
    if isinstance(error, ParamValidationError):
        text = " ".join(str(error).replace("Parameter validation failed:", "").split())
        return AwsError(f"{call} for {resource} is not a valid request: {text}", call=call)
    if isinstance(error, UnicodeEncodeError):
        return AwsError(f"{call} for {resource} names something that is not UTF-8", call=call)
    if isinstance(error, ResponseParserError):
        text = "what answers does not answer as AWS does: check AWS_ENDPOINT_URL and proxies"
        return AwsError(f"{call} for {resource} failed: {text}", call=call)
    if not isinstance(error, ClientError):
        return AwsError(str(sagemaker_errors.explain(error, call, resource)), call=call)
    code, said = sagemaker_errors.code(error), sagemaker_errors.said(error)
    message = str(sagemaker_errors.explain(error, call, resource))
    if code in _DENIED and "PassRole" not in said:
        action = f"{_SERVICE_OF_ACTION.get(service, service)}:{_action(service, call)}"
        message = (
            f"{call} for {resource} is denied: {said} ({code}). Allow your user or role {action}: "
            "mme iam deployer prints a policy with all that is needed"
        )
    return AwsError(message, call=call, code=code, said=said, members=error.response)


def _action(service: str, call: str) -> str:
    """IAM's name of an operation, where it is not the operation's own."""
    if service == "s3":
        return _S3_ACTIONS.get(call, call)
    return call
