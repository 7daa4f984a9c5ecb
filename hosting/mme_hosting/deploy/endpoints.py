"""`mme endpoints`: the endpoints of an account in a region."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mme_hosting.aws import Aws
from mme_hosting.deploy import fields
from mme_hosting.deploy.present import endpoint_of, find_config, find_model
from mme_hosting.deploy.resources import DIMENSION, Request
from mme_hosting.errors import HostingError

_THREADS: Final = 8
_RESOURCE: Final = re.compile(r"endpoint/(?P<endpoint>[^/]+)/variant/(?P<variant>[^/]+)")


@dataclass(frozen=True, slots=True)
class Row:
    """An endpoint, as far as it can be described: what is gone is None."""

    name: str
    status: str
    reason: str
    config: str
    created: datetime
    current: int
    desired: int
    instance_type: str | None
    image: str | None
    models: str | None
    multi_model: bool
    autoscaling: tuple[int, int] | None
    """Instances at least and at most."""

    @property
    def tag(self) -> str | None:
        """The image without its repository."""
        return self.image and self.image.rpartition("/")[2]


def endpoints(aws: Aws, name: str | None = None, every: bool = False) -> list[Row]:
    """The endpoints, by name.

    Args:
        aws: the account and region.
        name: only this one.
        every: also those that are not multi-model, or cannot be told any more.

    Raises:
        HostingError: there is none of that name, or AWS cannot be asked.
    """
    names = [name] if name else _names(aws)
    ranges = _ranges(aws)
    with ThreadPoolExecutor(_THREADS) as pool:
        rows = [row for row in pool.map(_describer(aws, ranges), names) if row]
    if name and not rows:
        raise HostingError(f"there is no endpoint {name} in {aws.region}: mme endpoints shows all")
    return [row for row in rows if name or every or row.multi_model]


def _names(aws: Aws) -> list[str]:
    pages = aws.pages("sagemaker", "ListEndpoints", "the endpoints", SortBy="Name")
    return sorted(row["EndpointName"] for page in pages for row in page["Endpoints"])


def _describer(aws: Aws, ranges: Mapping[str, Request]) -> Callable[[str], Row | None]:
    def describe(name: str) -> Row | None:
        what = f"the endpoint {name}"
        found = aws.find("sagemaker", "DescribeEndpoint", what, EndpointName=name)
        if found is None:  # deleted since it was listed
            return None
        config = find_config(aws, found.get("EndpointConfigName", ""))
        model = find_model(aws, config)
        return _row(name, found, config, model, ranges.get(name))

    aws.client("sagemaker")  # boto3's sessions are not for several threads, its clients are
    return describe


def _row(
    name: str,
    found: Mapping[str, Any],
    config: Request | None,
    model: Request | None,
    target: Request | None,
) -> Row:
    endpoint = endpoint_of(found)
    settings = fields.of_model(model)
    containers = fields.containers(model or {})
    return Row(
        name=name,
        status=endpoint.status,
        reason=endpoint.reason,
        config=endpoint.config,
        created=found["CreationTime"],
        current=endpoint.current,
        desired=endpoint.desired,
        instance_type=fields.of_config(config).get("instance_type"),
        image=settings.get("image"),
        models=settings.get("models"),
        multi_model=any(each.get("Mode") == "MultiModel" for each in containers),
        autoscaling=(target["MinCapacity"], target["MaxCapacity"]) if target else None,
    )


def _ranges(aws: Aws) -> dict[str, Request]:
    """Scalable targets by endpoint; of several variants, one."""
    pages = aws.pages(
        "application-autoscaling",
        "DescribeScalableTargets",
        "the autoscaling of endpoints",
        ServiceNamespace="sagemaker",
        ScalableDimension=DIMENSION,
    )
    rows = [row for page in pages for row in page["ScalableTargets"]]
    named = ((_RESOURCE.fullmatch(row["ResourceId"]), row) for row in rows)
    return {match["endpoint"]: row for match, row in named if match}
