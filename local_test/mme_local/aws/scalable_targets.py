"""What Application Auto Scaling scales: variants that are registered with it.

https://docs.aws.amazon.com/autoscaling/application/APIReference/API_ScalableTarget.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from botocore.exceptions import ClientError

from mme_local.aws.clients import Clients

RESOURCE: Final = re.compile(r"endpoint/(?P<endpoint>[^/]+)/variant/(?P<variant>[^/]+)")
"""ResourceId of a variant."""
_OF_VARIANTS: Final = {
    "ServiceNamespace": "sagemaker",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}


def registered(clients: Clients) -> list[Mapping[str, Any]]:
    """ScalableTargets, of all endpoints; blocks."""
    pages = _client(clients).get_paginator("describe_scalable_targets").paginate(**_OF_VARIANTS)
    return [target for page in pages for target in page["ScalableTargets"]]


def policies(clients: Clients, resource: str) -> list[Mapping[str, Any]]:
    """ScalingPolicies of a variant, by its ResourceId; blocks."""
    pages = _client(clients).get_paginator("describe_scaling_policies")
    answers = pages.paginate(**_OF_VARIANTS, ResourceId=resource)
    return [policy for answer in answers for policy in answer["ScalingPolicies"]]


def variants(clients: Clients, endpoint: str) -> dict[str, str]:
    """ResourceIds of an endpoint's variants that are registered, by the variant's name; blocks."""
    named = [RESOURCE.fullmatch(str(target["ResourceId"])) for target in registered(clients)]
    return {each["variant"]: each[0] for each in named if each and each["endpoint"] == endpoint}


def deregister(clients: Clients, endpoint: str) -> None:
    """Forget an endpoint's variants and their policies; blocks.

    moto would keep the policies, which on AWS go with the target. What a client deletes at the
    same moment is gone as well.
    """
    client = _client(clients)
    for resource in variants(clients, endpoint).values():
        variant = {**_OF_VARIANTS, "ResourceId": resource}
        for policy in policies(clients, resource):
            with _gone():
                client.delete_scaling_policy(**variant, PolicyName=policy["PolicyName"])
        with _gone():
            client.deregister_scalable_target(**variant)


@contextmanager
def _gone() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if "found" not in str(error):  # No scalable target found, No scaling policy found
            raise


def _client(clients: Clients) -> Any:
    return clients.client("application-autoscaling")
