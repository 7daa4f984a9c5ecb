"""CreateEndpoint, DescribeEndpoint, ListEndpoints, UpdateEndpoint, DeleteEndpoint and scaling.

The statuses are moved by what hosts the endpoints; here they are only begun.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final

from mme_local.aws import scalable_targets
from mme_local.aws.clients import Clients
from mme_local.control import arns
from mme_local.control.backends import Endpoints as Backend
from mme_local.control.background import Background
from mme_local.control.endpoint_configs import EndpointConfigs
from mme_local.control.listing import Listing
from mme_local.control.records import (
    EndpointRecord,
    ResolvedConfig,
    ResolvedVariant,
    VariantState,
)
from mme_local.control.store import Table
from mme_local.control.tags import Tags
from mme_local.errors import LocalError, not_found, validation_error

_LOG: Final = logging.getLogger(__name__)
_IN_PROGRESS: Final = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
_LONGEST_REASON: Final = 1024
_LISTING: Final = Listing[EndpointRecord](
    name=lambda e: e.name,
    created=lambda e: e.created,
    modified=lambda e: e.modified,
    status=lambda e: e.status,
)


class Endpoints:
    """Endpoints as the API has them; `backend` hosts them, `clients` know who scales them."""

    def __init__(
        self,
        table: Table[EndpointRecord],
        names: arns.Arns,
        tags: Tags,
        backend: Backend,
        background: Background,
        clients: Clients,
    ) -> None:
        self._table = table
        self._names = names
        self._tags = tags
        self._backend = backend
        self._background = background
        self._clients = clients
        self._updating_to: dict[str, str] = {}

    async def create(self, request: Mapping[str, Any], configs: EndpointConfigs) -> dict[str, Any]:
        """CreateEndpoint."""
        name = request["EndpointName"]
        arn = self._names.of(arns.ENDPOINT, name)
        if self._table.get(name):
            raise validation_error(f'Cannot create already existing endpoint "{arn}".')
        _check_supported(request)
        config = configs.resolve(request["EndpointConfigName"])
        endpoint = EndpointRecord(name, arn, config, variants=_states(config))
        self._tags.add(arn, request.get("Tags", []))
        await self._begin(endpoint)
        return {"EndpointArn": arn}

    async def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeEndpoint."""
        endpoint = self.get(request["EndpointName"])
        return {
            **_summary(endpoint),
            "EndpointConfigName": endpoint.config.name,
            "ProductionVariants": [_shown(v, endpoint) for v in endpoint.config.variants],
            "FailureReason": endpoint.failure_reason and endpoint.failure_reason[:_LONGEST_REASON],
            "PendingDeploymentSummary": self._pending(endpoint),
        }

    async def list(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListEndpoints."""
        page, token = _LISTING.page(self._table, request)
        return {"Endpoints": [_summary(endpoint) for endpoint in page], "NextToken": token}

    async def update(self, request: Mapping[str, Any], configs: EndpointConfigs) -> dict[str, Any]:
        """UpdateEndpoint."""
        name = request["EndpointName"]
        # First, for nothing is to change between the checks and the start of the update.
        scaled = await asyncio.to_thread(scalable_targets.variants, self._clients, name)
        endpoint = self._at_rest(name)
        _check_supported(request)
        config = configs.resolve(request["EndpointConfigName"])
        _check_scaled(scaled, endpoint.config, config)
        if request.get("RetainAllVariantProperties"):
            excluded = request.get("ExcludeRetainedVariantProperties", [])
            config = _retaining(config, endpoint, {one["VariantPropertyType"] for one in excluded})
        self._updating_to[endpoint.name] = config.name
        endpoint.move("Updating")
        try:
            await self._backend.update(endpoint, config)
        except Exception as error:  # nothing is under way: it serves as before
            endpoint.move("InService", str(error))
            raise
        return {"EndpointArn": endpoint.arn}

    async def scale(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """UpdateEndpointWeightsAndCapacities."""
        endpoint = self._at_rest(request["EndpointName"])
        wanted = request["DesiredWeightsAndCapacities"]
        _check_variants([one["VariantName"] for one in wanted], endpoint)
        if any("ServerlessUpdateConfig" in one for one in wanted):
            raise validation_error("ServerlessUpdateConfig is not supported with InstanceType.")
        for one in wanted:
            count, weight = one.get("DesiredInstanceCount"), one.get("DesiredWeight")
            if count == 0:
                raise validation_error(
                    f"DesiredInstanceCount of variant {one['VariantName']} must be at least 1."
                )
            await self._backend.scale(endpoint, one["VariantName"], count, weight)
        self._table.put(endpoint.name, endpoint)
        return {"EndpointArn": endpoint.arn}

    async def delete(self, request: Mapping[str, Any]) -> None:
        """DeleteEndpoint; it is ``Deleting`` until the backend has ended it.

        Its variants are deregistered from Application Auto Scaling, as on AWS.
        """
        endpoint = self.get(request["EndpointName"])
        self._check_at_rest(endpoint)
        endpoint.move("Deleting")
        self._background.start(self._end(endpoint))

    async def restore(self) -> None:
        """Create again what was kept of endpoints, as they were configured last."""
        for endpoint in self._table:
            if endpoint.status == "Deleting":
                self._forget(endpoint)
                continue
            endpoint.variants = {
                name: replace(state, current_count=0) for name, state in endpoint.variants.items()
            }
            endpoint.status, endpoint.failure_reason = "Creating", None
            await self._begin(endpoint)

    def in_progress(self, config_name: str) -> bool:
        """Whether an endpoint is being created or updated from this configuration now."""
        return any(
            config_name in (endpoint.config.name, self._updating_to.get(endpoint.name))
            for endpoint in self._table
            if endpoint.status in _IN_PROGRESS and endpoint.status != "Deleting"
        )

    def get(self, name: str) -> EndpointRecord:
        """The endpoint.

        Raises:
            ApiError: there is none, in AWS's words.
        """
        if endpoint := self._table.get(name):
            return endpoint
        raise not_found(f'endpoint "{self._names.of(arns.ENDPOINT, name)}"')

    def _pending(self, endpoint: EndpointRecord) -> dict[str, Any] | None:
        """What it is being created or updated with; None while it is scaled."""
        creating = endpoint.status == "Creating"
        config = endpoint.config.name if creating else self._updating_to.get(endpoint.name)
        return {"EndpointConfigName": config, "StartTime": endpoint.modified} if config else None

    async def _begin(self, endpoint: EndpointRecord) -> None:
        endpoint.changed = partial(self._keep, endpoint)
        self._table.put(endpoint.name, endpoint)
        try:
            await self._backend.create(endpoint)
        except Exception as error:
            if not isinstance(error, LocalError):
                _LOG.exception("endpoint %s cannot be created", endpoint.name)
            endpoint.move("Failed", str(error))

    async def _end(self, endpoint: EndpointRecord) -> None:
        try:
            await asyncio.to_thread(scalable_targets.deregister, self._clients, endpoint.name)
            await self._backend.delete(endpoint.name)
        except Exception as error:
            _LOG.exception("endpoint %s cannot be deleted", endpoint.name)
            endpoint.move("Failed", f"It could not be deleted: {error}")
        else:
            self._forget(endpoint)

    def _forget(self, endpoint: EndpointRecord) -> None:
        self._table.remove(endpoint.name)
        self._tags.forget(endpoint.arn)
        self._updating_to.pop(endpoint.name, None)

    def _keep(self, endpoint: EndpointRecord) -> None:
        if endpoint.status not in _IN_PROGRESS:
            self._updating_to.pop(endpoint.name, None)
        if self._table.get(endpoint.name) is endpoint:
            self._table.put(endpoint.name, endpoint)

    def _at_rest(self, name: str) -> EndpointRecord:
        endpoint = self.get(name)
        self._check_at_rest(endpoint)
        if endpoint.status == "Failed":
            raise validation_error(
                f'Cannot update endpoint "{endpoint.arn}" in status Failed: it can only be deleted.'
            )
        return endpoint

    def _check_at_rest(self, endpoint: EndpointRecord) -> None:
        if endpoint.status in _IN_PROGRESS:
            raise validation_error(f'Cannot update in-progress endpoint "{endpoint.arn}".')


def _check_supported(request: Mapping[str, Any]) -> None:
    if "DeploymentConfig" in request:
        raise validation_error(
            "DeploymentConfig is not supported by the local SageMaker: without it, an endpoint is "
            "updated all at once, after the new instances are in service."
        )


def _check_scaled(scaled: Collection[str], before: ResolvedConfig, after: ResolvedConfig) -> None:
    """Refuse what AWS refuses of an endpoint that is autoscaled.

    https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html
    """
    types = {variant.name: variant.instance_type for variant in after.variants}
    names = [
        variant.name
        for variant in before.variants
        if variant.name in scaled and types.get(variant.name) != variant.instance_type
    ]
    if names:
        raise validation_error(
            f'The variant(s) "[{", ".join(names)}]" must be deregistered as scalable targets with '
            "AWS Auto Scaling before they can be removed or have their instance type updated."
        )


def _check_variants(names: list[str], endpoint: EndpointRecord) -> None:
    known = {variant.name for variant in endpoint.config.variants}
    for name in names:
        if names.count(name) > 1:
            raise validation_error(f'The variant name "{name}" was non-unique within the request.')
    if unknown := [name for name in names if name not in known]:
        raise validation_error(
            f'The variant name(s) "{", ".join(unknown)}" is/are not present within endpoint '
            f'configuration "{endpoint.config.name}".'
        )


def _states(config: ResolvedConfig) -> dict[str, VariantState]:
    return {
        variant.name: VariantState(
            variant.name, 0, variant.initial_count, variant.weight, variant.weight
        )
        for variant in config.variants
    }


def _retaining(
    config: ResolvedConfig, endpoint: EndpointRecord, excluded: set[str]
) -> ResolvedConfig:
    """The configuration with the instances and weights that the endpoint's variants have now."""

    def retained(variant: ResolvedVariant) -> ResolvedVariant:
        state = endpoint.variants.get(variant.name)
        if state is None:
            return variant
        if "DesiredInstanceCount" not in excluded:
            variant = replace(variant, initial_count=state.desired_count)
        if "DesiredWeight" not in excluded:
            variant = replace(variant, weight=state.desired_weight)
        return variant

    return replace(config, variants=tuple(map(retained, config.variants)))


def _summary(endpoint: EndpointRecord) -> dict[str, Any]:
    return {
        "EndpointName": endpoint.name,
        "EndpointArn": endpoint.arn,
        "EndpointStatus": endpoint.status,
        "CreationTime": endpoint.created,
        "LastModifiedTime": endpoint.modified,
    }


def _shown(variant: ResolvedVariant, endpoint: EndpointRecord) -> dict[str, Any]:
    image = {"SpecifiedImage": variant.image, "ResolvedImage": variant.image}
    state = endpoint.variants.get(variant.name)
    counts = asdict(state) if state else {}
    return {
        "VariantName": variant.name,
        "DeployedImages": [{**image, "ResolutionTime": endpoint.created}],
        "CurrentWeight": counts.get("current_weight"),
        "DesiredWeight": counts.get("desired_weight"),
        "CurrentInstanceCount": counts.get("current_count"),
        "DesiredInstanceCount": counts.get("desired_count"),
    }
