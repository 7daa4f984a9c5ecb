"""CreateEndpointConfig, DescribeEndpointConfig, ListEndpointConfigs, DeleteEndpointConfig."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mme_local.control import arns, models
from mme_local.control.listing import Listing
from mme_local.control.records import ResolvedConfig, ResolvedVariant, Resource
from mme_local.control.store import Table
from mme_local.control.tags import Tags
from mme_local.errors import not_found, validation_error
from mme_training.instance_types import hosts_multi_model, takes_volume_size

_DEFAULT_WEIGHT: Final = 1.0
_NOT_HERE: Final = (
    "AsyncInferenceConfig",
    "CrossRegionTrafficConfig",
    "ExplainerConfig",
    "ShadowProductionVariants",
)
_NOT_HERE_OF_VARIANTS: Final = ("InstancePools", "ManagedInstanceScaling")
_LISTING: Final = Listing[Resource](name=lambda c: c.name, created=lambda c: c.created)


class EndpointConfigs:
    """Endpoint configurations: which models on how many instances of what type.

    Args:
        in_progress: the configurations that an endpoint is being made or updated from now.
    """

    def __init__(
        self,
        table: Table[Resource],
        names: arns.Arns,
        tags: Tags,
        model: models.Models,
        in_progress: Callable[[str], bool],
    ) -> None:
        self._table = table
        self._names = names
        self._tags = tags
        self._models = model
        self._in_progress = in_progress

    async def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateEndpointConfig."""
        name = request["EndpointConfigName"]
        arn = self._names.of(arns.ENDPOINT_CONFIG, name)
        if self._table.get(name):
            raise validation_error(
                f'Cannot create already existing endpoint configuration "{arn}".'
            )
        _check_supported(request)
        for variant in request["ProductionVariants"]:
            self._check_variant(variant)
        config = Resource(name, arn, request)
        self._table.put(name, config)
        self._tags.add(arn, request.get("Tags", []))
        return {"EndpointConfigArn": arn}

    async def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeEndpointConfig."""
        config = self.get(request["EndpointConfigName"])
        variants = [
            {"InitialVariantWeight": _DEFAULT_WEIGHT, **variant}
            for variant in config.request["ProductionVariants"]
        ]
        return {
            "EnableNetworkIsolation": False,
            **config.request,
            "ProductionVariants": variants,
            "EndpointConfigArn": config.arn,
            "CreationTime": config.created,
        }

    async def list(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListEndpointConfigs."""
        page, token = _LISTING.page(self._table, request)
        configs = [
            {"EndpointConfigName": c.name, "EndpointConfigArn": c.arn, "CreationTime": c.created}
            for c in page
        ]
        return {"EndpointConfigs": configs, "NextToken": token}

    async def delete(self, request: Mapping[str, Any]) -> None:
        """DeleteEndpointConfig.

        AWS forbids it while an endpoint is created or updated from the configuration. It lets that
        of an endpoint in service go, and the sagemaker SDK deletes it before the endpoint.
        """
        config = self.get(request["EndpointConfigName"])
        if self._in_progress(config.name):
            raise validation_error(
                f'Cannot delete endpoint configuration "{config.arn}": an endpoint is being '
                "created or updated from it. Wait until it is InService."
            )
        self._table.remove(config.name)
        self._tags.forget(config.arn)

    def get(self, name: str) -> Resource:
        """The configuration.

        Raises:
            ApiError: there is none, in AWS's words.
        """
        if config := self._table.get(name):
            return config
        raise not_found(f'endpoint configuration "{self._names.of(arns.ENDPOINT_CONFIG, name)}"')

    def resolve(self, name: str) -> ResolvedConfig:
        """The configuration with its models looked up.

        Raises:
            ApiError: it or a model is not there any more.
        """
        variants = self.get(name).request["ProductionVariants"]
        return ResolvedConfig(name, tuple(self._resolved(variant) for variant in variants))

    def _resolved(self, variant: Mapping[str, Any]) -> ResolvedVariant:
        model = self._models.get(variant["ModelName"])
        definition = models.container(model.request)
        cache = definition.get("MultiModelConfig", {}).get("ModelCacheSetting", "Enabled")
        return ResolvedVariant(
            name=variant["VariantName"],
            model_name=model.name,
            image=definition["Image"],
            environment=definition.get("Environment", {}),
            model_data_url=models.model_data_url(definition),
            multi_model=models.is_multi_model(definition),
            cache_models=cache == "Enabled",
            instance_type=variant["InstanceType"],
            initial_count=variant["InitialInstanceCount"],
            weight=variant.get("InitialVariantWeight", _DEFAULT_WEIGHT),
            startup_seconds=variant.get("ContainerStartupHealthCheckTimeoutInSeconds"),
            role_arn=model.request["ExecutionRoleArn"],
        )

    def _check_variant(self, variant: Mapping[str, Any]) -> None:
        name = variant["VariantName"]
        if "ModelName" not in variant:
            raise validation_error(
                f"Variant {name} has no ModelName: inference components are not supported by the "
                "local SageMaker."
            )
        model = self._models.get(variant["ModelName"])
        multi_model = models.is_multi_model(models.container(model.request))
        if "ServerlessConfig" in variant:
            reason = "with MultiModel mode" if multi_model else "by the local SageMaker"
            raise validation_error(
                f"ServerlessConfig of variant {name} is not supported {reason}: give InstanceType "
                "and InitialInstanceCount."
            )
        for member in ("InstanceType", "InitialInstanceCount"):
            if member not in variant:
                raise validation_error(f"{member} must be given for variant {name}.")
        if "VolumeSizeInGB" in variant and not takes_volume_size(variant["InstanceType"]):
            raise validation_error(
                "VolumeSize parameter is not allowed for the selected Instance type "
                f"{variant['InstanceType']}."
            )
        if multi_model and not hosts_multi_model(variant["InstanceType"]):
            raise validation_error(
                f"MultiModel mode is not supported for instance type {variant['InstanceType']}."
            )


def _check_supported(request: Mapping[str, Any]) -> None:
    variants = request["ProductionVariants"]
    for member in _NOT_HERE:
        if member in request:
            raise validation_error(f"{member} is not supported by the local SageMaker.")
    if request.get("DataCaptureConfig", {}).get("EnableCapture"):
        raise validation_error("Data capture is not supported by the local SageMaker.")
    for member in _NOT_HERE_OF_VARIANTS:
        if any(member in variant for variant in variants):
            raise validation_error(f"{member} is not supported by the local SageMaker.")
    names = [variant["VariantName"] for variant in variants]
    if twice := {name for name in names if names.count(name) > 1}:
        raise validation_error(
            f'The variant name "{twice.pop()}" was non-unique within the request.'
        )
