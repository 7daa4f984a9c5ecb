"""What a client of InvokeEndpoint is told, as AWS words it; where AWS's words are not known, ours.

The shapes are those of
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from __future__ import annotations

from http import HTTPStatus

from mme_local.errors import ApiError
from mme_local.settings import ACCOUNT

CONTAINER = "primary"
"""What AWS calls the container of a model that has one."""


def validation_error(message: str) -> ApiError:
    """A request that cannot be served as it is (400)."""
    return ApiError("ValidationError", message)


def endpoint_not_found(name: str, status: str | None = None) -> ApiError:
    """There is no such endpoint, or it does not serve in its `status`."""
    message = f"Endpoint {name} of account {ACCOUNT} not found."
    if status is not None:
        message += f" It is {status}: only an endpoint that is InService can be invoked."
    return validation_error(message)


def variant_not_found(endpoint: str, variant: str) -> ApiError:
    """The endpoint has no such production variant."""
    return validation_error(f"Variant {variant} of endpoint {endpoint} not found.")


def target_model_missing(request_id: str) -> ApiError:
    """A multi-model endpoint was not told which model."""
    return validation_error(f"Request {request_id} is missing a target model header.")


def target_model_not_supported(endpoint: str) -> ApiError:
    """A model was named to an endpoint that has but one."""
    return validation_error(
        f"Endpoint {endpoint} is not a multi-model endpoint and does not support target model "
        "header."
    )


def target_model_invalid(target: str) -> ApiError:
    """A name that no archive below the model's prefix can have."""
    return validation_error(
        f"Target model {target!r} is not valid: it must be the path of a .tar.gz archive, "
        "relative to the ModelDataUrl of the model."
    )


def download_failed(bucket: str, key: str) -> ApiError:
    """The archive of a target model is not there."""
    return validation_error(
        f"Failed to download model data(bucket: {bucket}, key: {key}). Please ensure that there is "
        "an object located at the URL and that the role passed to CreateModel has permissions to "
        "download the model."
    )


def extract_failed(url: str, reason: str) -> ApiError:
    """The archive of a target model is refused."""
    return validation_error(
        f'Failed to extract model data archive from URL "{url}": {reason}. Please ensure that the '
        "object located at the URL is a valid tar.gz archive."
    )


def model_not_ready(target: str, endpoint: str) -> ApiError:
    """The load takes longer than a request may wait, and goes on (429)."""
    return ApiError(
        "ModelNotReadyException",
        f"Model {target} of endpoint {endpoint} is still being downloaded and loaded. Try again.",
        HTTPStatus.TOO_MANY_REQUESTS,
    )


def no_instance(endpoint: str, variant: str) -> ApiError:
    """No instance was healthy for as long as a request may wait (503)."""
    return ApiError(
        "ServiceUnavailable",
        f"No instance of production variant {variant} of endpoint {endpoint} is healthy. "
        "Try again.",
        HTTPStatus.SERVICE_UNAVAILABLE,
    )


def internal_failure(message: str) -> ApiError:
    """The platform's own fault (500)."""
    return ApiError("InternalFailure", message, HTTPStatus.INTERNAL_SERVER_ERROR)


def model_error(endpoint: str, region: str, status: int, body: str) -> ApiError:
    """The container answered with an error, or not at all: then `status` is 0 (424)."""
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    side = "client" if 400 <= status < 500 else "server"
    return ApiError(
        "ModelError",
        f'Received {side} error ({status}) from {CONTAINER} with message "{body}". '
        f"See https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        f"#logEventViewer:group={group} in account {ACCOUNT} for more information.",
        HTTPStatus.FAILED_DEPENDENCY,
        OriginalStatusCode=status,
        OriginalMessage=body,
        LogStreamArn=f"arn:aws:logs:{region}:{ACCOUNT}:log-group:{group}",
    )


def timed_out(endpoint: str, region: str) -> ApiError:
    """The container did not answer in time."""
    return model_error(
        endpoint,
        region,
        0,
        "Your invocation timed out while waiting for a response from container "
        f"{CONTAINER}. Review the latency metrics for each container in Amazon CloudWatch, "
        "resolve the issue, and try again.",
    )


def ping_failed(variant: str) -> str:
    """FailureReason of an endpoint with a container that is not healthy in time."""
    return (
        f"The primary container for production variant {variant} did not pass the ping health "
        "check. Please check CloudWatch logs for this endpoint."
    )


def model_data_download_failed(url: str) -> str:
    """FailureReason of an endpoint whose one archive is not there."""
    return (
        f'Failed to download model data for container "container_1" from URL: "{url}". Please '
        "ensure that there is an object located at the URL and that the role passed to CreateModel "
        "has permissions to download the object."
    )


def model_data_extract_failed(url: str, reason: str) -> str:
    """FailureReason of an endpoint whose one archive is refused."""
    return (
        f'Failed to extract model data archive for container "container_1" from URL "{url}": '
        f"{reason}. Please ensure that the object located at the URL is a valid tar.gz archive."
    )
