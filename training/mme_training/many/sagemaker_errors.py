"""What an AWS error means to the user: which call failed, on what, and what to do now."""

from __future__ import annotations

import re
from typing import Any, Final

from botocore import exceptions as botocore
from botocore.exceptions import ClientError

from mme_training.errors import AlgorithmError, TrainingError, UserError

_NO_ANSWER: Final = (botocore.HTTPClientError, botocore.ConnectionError)
_TRANSIENT: Final = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServerException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "403"})
_CREDENTIALS: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_NO_CREDENTIALS: Final = (
    "no AWS credentials were found: run `aws configure` or `aws sso login`, set AWS_PROFILE, or "
    "run where a role provides them"
)


def code(error: ClientError) -> str:
    """AWS's name of the error, such as ``ThrottlingException``."""
    return str(error.response.get("Error", {}).get("Code", ""))


def said(error: ClientError) -> str:
    """AWS's own words."""
    return str(error.response.get("Error", {}).get("Message", "")) or code(error)


def is_transient(error: Exception) -> bool:
    """Whether the same call may succeed a little later."""
    if not isinstance(error, ClientError):
        return isinstance(error, _NO_ANSWER)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or status == 429 or code(error) in _TRANSIENT


def quota_is_hopeless(error: ClientError) -> bool:
    """Whether a ResourceLimitExceeded stays however many jobs end."""
    text = said(error)
    return "not available in this region" in text or bool(re.search(r" is 0 Instances", text))


def explain(error: Exception, call: str, resource: str) -> TrainingError:
    """The error to raise for one that cannot be helped; `resource` says on what `call` failed."""
    where = f"{call} for {resource}"
    if isinstance(error, ClientError):
        return _explain_answer(error, where)
    if isinstance(error, _NO_ANSWER):
        return AlgorithmError(f"{where} gets no answer ({error}): check the network and the region")
    return configuration(error) or UserError(f"{where} is not a valid request: {error}")


def configuration(error: Exception) -> UserError | None:
    """What lacks in AWS's configuration, if `error` is about that."""
    if isinstance(error, botocore.NoCredentialsError | botocore.CredentialRetrievalError):
        return UserError(_NO_CREDENTIALS)
    if isinstance(error, botocore.PartialCredentialsError | botocore.ProfileNotFound):
        return UserError(f"the AWS credentials are not usable: {error}")
    if isinstance(error, botocore.InvalidRegionError):
        return UserError(f"that is no AWS region, such as us-east-1: {error}")
    if isinstance(error, botocore.NoRegionError):
        return UserError("no AWS region is known: give one, or set AWS_DEFAULT_REGION")
    return None


def _explain_answer(error: ClientError, where: str) -> TrainingError:
    name, text = code(error), said(error)
    if is_transient(error):
        return AlgorithmError(f"{where} is refused again and again ({name}: {text}): try later")
    if advice := _advice(name, text, error):
        return UserError(f"{where} failed: {text} ({name}). {advice}")
    return UserError(f"{where} failed: {text} ({name})")


def _advice(name: str, text: str, error: ClientError) -> str:
    action = re.search(r"perform: ([\w:-]+)", text)
    lower = text.lower()
    if name in _DENIED and "PassRole" in text:
        return "Allow your user or role iam:PassRole on the role of the jobs, or give another role."
    if name in _DENIED:
        return f"Allow your user or role {action[1] if action else _action(error)} on it."
    if name in _CREDENTIALS:
        return "Renew your credentials, for instance by `aws sso login`."
    if name == "NoSuchBucket":
        return "Make the bucket, or give another S3 prefix."
    if name in ("PermanentRedirect", "301", "AuthorizationHeaderMalformed"):
        return "The bucket is in another region: jobs and bucket must share one; give its region."
    if name == "ResourceLimitExceeded":
        return (
            "Ask for more under Service Quotas, SageMaker, '<instance type> for training job "
            "usage', or give another instance type."
        )
    if name == "ValidationException":
        return _validation_advice(lower)
    return ""


def _validation_advice(text: str) -> str:
    if "role" in text and ("assume" in text or "not exist" in text or "invalid" in text):
        return (
            "Check the role's ARN, and that its trust policy lets sagemaker.amazonaws.com assume "
            "the role."
        )
    if "image" in text or "ecr" in text or "repository" in text:
        return (
            "Check the image's URI, that it is in ECR of the same region, and that the role may "
            "pull it."
        )
    if "instance" in text and "enum" in text:
        return "Give an instance type that SageMaker trains on, such as ml.m5.large."
    return ""


def _action(error: ClientError) -> str:
    service = "s3" if error.operation_name in _S3_ACTIONS else "sagemaker"
    return f"{service}:{_S3_ACTIONS.get(error.operation_name, error.operation_name)}"


_S3_ACTIONS: Final[dict[str, Any]] = {
    "PutObject": "PutObject",
    "HeadObject": "GetObject",
    "CopyObject": "PutObject",
}
