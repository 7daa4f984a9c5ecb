"""The request of `health_check` in mme.yaml, which must be answered."""

from __future__ import annotations

import time
from typing import Final

from mme_handler.codecs.registry import DEFAULT_CONTENT_TYPE
from mme_hosting.aws import AwsError
from mme_hosting.context import Context
from mme_hosting.errors import HostingError
from mme_hosting.invoke.request import CONTENT_TYPES
from mme_hosting.settings import HealthCheck

_SECONDS: Final = 360.0  # SageMaker goes on with a load for so long
_PAUSE: Final = 5.0
_NOT_YET: Final = frozenset(
    {
        "ModelNotReadyException",
        "ServiceUnavailable",
        "InternalFailure",
        "InternalDependencyException",
    }
)


def body(check: HealthCheck) -> bytes:
    """The request.

    Raises:
        HostingError: the file cannot be read.
    """
    try:
        return check.file.read_bytes()
    except OSError as error:
        raise HostingError(
            f"health_check.file {check.file} cannot be read: {error.strerror}"
        ) from None


def check(context: Context, health: HealthCheck, within: float = _SECONDS) -> float:
    """Send the request; the seconds until it was answered.

    A model that is being loaded, and a service that is not there yet, are asked again.

    Args:
        context: the endpoint, which is in service.
        health: the request.
        within: seconds.

    Raises:
        HostingError: it is not answered, and why.
    """
    from mme_hosting.models.aliases import resolve

    content = body(health)
    target = resolve(context, health.model)
    content_type = health.content_type or CONTENT_TYPES.get(
        health.file.suffix.lower(), DEFAULT_CONTENT_TYPE
    )
    started = time.monotonic()
    while True:
        try:
            context.aws.call(
                "sagemaker-runtime",
                "InvokeEndpoint",
                f"the model {health.model} ({target}) of {context.name}",
                EndpointName=context.name,
                TargetModel=target,
                ContentType=content_type,
                Body=content,
            )
        except AwsError as error:
            if error.code not in _NOT_YET or time.monotonic() - started + _PAUSE > within:
                raise
            time.sleep(_PAUSE)
        else:
            return time.monotonic() - started
