"""CreateModel, DescribeModel, ListModels, DeleteModel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mme_local.containers.spec import Runtime
from mme_local.control import arns
from mme_local.control.images import check_image
from mme_local.control.listing import Listing
from mme_local.control.objects import Objects, bucket_and_key
from mme_local.control.records import Resource
from mme_local.control.roles import Roles
from mme_local.control.store import Table
from mme_local.control.tags import Tags
from mme_local.errors import ApiError, not_found, validation_error

MULTI_MODEL: Final = "MultiModel"
_ARCHIVE_ENDS: Final = ".tar.gz"
_LISTING: Final = Listing[Resource](name=lambda m: m.name, created=lambda m: m.created)


class Models:
    """Models: an image, where its archives are, and a role."""

    def __init__(
        self,
        table: Table[Resource],
        names: arns.Arns,
        tags: Tags,
        roles: Roles,
        objects: Objects,
        runtime: Runtime,
    ) -> None:
        self._table = table
        self._names = names
        self._tags = tags
        self._roles = roles
        self._objects = objects
        self._runtime = runtime

    async def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateModel."""
        name = request["ModelName"]
        self._check_new(name)
        definition = container(request)
        _check_container(definition)
        if "ExecutionRoleArn" not in request:
            raise validation_error("ExecutionRoleArn must be given: the model is fetched by it.")
        await self._roles.check(request["ExecutionRoleArn"])
        await check_image(self._runtime, definition["Image"], is_multi_model(definition))
        if not is_multi_model(definition) and (url := model_data_url(definition)):
            await self._objects.check_archive(url, request["ExecutionRoleArn"])
        self._check_new(name)  # another request may have made it meanwhile
        model = Resource(name, self._names.of(arns.MODEL, name), request)
        self._table.put(name, model)
        self._tags.add(model.arn, request.get("Tags", []))
        return {"ModelArn": model.arn}

    async def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeModel."""
        model = self.get(request["ModelName"])
        return {
            "EnableNetworkIsolation": False,
            **model.request,
            **_described_containers(model.request),
            "ModelArn": model.arn,
            "CreationTime": model.created,
        }

    async def list(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListModels."""
        page, token = _LISTING.page(self._table, request)
        models = [{"ModelName": m.name, "ModelArn": m.arn, "CreationTime": m.created} for m in page]
        return {"Models": models, "NextToken": token}

    async def delete(self, request: Mapping[str, Any]) -> None:
        """DeleteModel; endpoints that serve it go on, as on AWS."""
        model = self.get(request["ModelName"])
        self._table.remove(model.name)
        self._tags.forget(model.arn)

    def get(self, name: str) -> Resource:
        """The model.

        Raises:
            ApiError: there is none, in AWS's words.
        """
        if model := self._table.get(name):
            return model
        raise not_found(f'model "{self._names.of(arns.MODEL, name)}"')

    def _check_new(self, name: str) -> None:
        if self._table.get(name):
            arn = self._names.of(arns.MODEL, name)
            raise validation_error(f'Cannot create already existing model "{arn}".')


def container(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one container of CreateModel's request, whichever way it is given.

    Raises:
        ApiError: there is none, or more than one.
    """
    several = request.get("Containers", [])
    if "PrimaryContainer" in request and several:
        raise validation_error("Give either PrimaryContainer or Containers, not both.")
    found = [request["PrimaryContainer"]] if "PrimaryContainer" in request else several
    if not found:
        raise validation_error("PrimaryContainer or Containers must be given.")
    if sum(is_multi_model(one) for one in found) > 1:
        raise validation_error(
            "More than one container in MultiModel mode is not supported with inference pipeline."
        )
    if len(found) > 1:
        raise _not_here("An inference pipeline (several Containers)", "give one container")
    only: Mapping[str, Any] = found[0]
    return only


def is_multi_model(definition: Mapping[str, Any]) -> bool:
    """Whether a container serves any number of models."""
    return bool(definition.get("Mode") == MULTI_MODEL)


def model_data_url(definition: Mapping[str, Any]) -> str:
    """Where a container's archive or archives are; empty for one that has none.

    A `ModelDataSource` that names one archive is the same as `ModelDataUrl`.
    """
    source = definition.get("ModelDataSource", {}).get("S3DataSource", {})
    return str(definition.get("ModelDataUrl") or source.get("S3Uri", ""))


def _check_container(definition: Mapping[str, Any]) -> None:
    if "Image" not in definition:
        raise _not_here("A container without Image (a model package)", "give Image")
    if is_multi_model(definition):
        _check_multi_model(definition)
    else:
        _check_single_model(definition)


def _check_multi_model(definition: Mapping[str, Any]) -> None:
    if "ModelDataSource" in definition:
        raise validation_error(
            "ModelDataSource is not supported for a container in MultiModel mode: give "
            "ModelDataUrl, the S3 prefix of the models' .tar.gz archives."
        )
    url = definition.get("ModelDataUrl", "")
    if not url.endswith("/"):
        raise validation_error(
            "ModelDataUrl of a container in MultiModel mode must be an S3 prefix that ends in "
            f"'/', below which TargetModel is looked for: {url or 'none is given'}"
        )
    bucket_and_key(url)


def _check_single_model(definition: Mapping[str, Any]) -> None:
    if "MultiModelConfig" in definition:
        raise validation_error("MultiModelConfig is only for a container in MultiModel mode.")
    if "ModelDataUrl" in definition and "ModelDataSource" in definition:
        raise validation_error("Give either ModelDataUrl or ModelDataSource, not both.")
    source = definition.get("ModelDataSource", {}).get("S3DataSource")
    if source and (source["S3DataType"], source["CompressionType"]) != ("S3Object", "Gzip"):
        raise _not_here("An uncompressed ModelDataSource", f"pack it as {_ARCHIVE_ENDS}")
    url = model_data_url(definition)
    if url and not url.endswith(_ARCHIVE_ENDS):
        raise validation_error(
            "ModelDataUrl must point to a single gzip compressed tar archive "
            f"({_ARCHIVE_ENDS} suffix): {url}. For a prefix of many, Mode is {MULTI_MODEL}."
        )


def _described_containers(request: Mapping[str, Any]) -> dict[str, Any]:
    """Containers as DescribeModel shows them: with the mode that is the default."""
    shown: dict[str, Any] = {}
    if "PrimaryContainer" in request:
        shown["PrimaryContainer"] = {"Mode": "SingleModel", **request["PrimaryContainer"]}
    if "Containers" in request:
        shown["Containers"] = [{"Mode": "SingleModel", **one} for one in request["Containers"]]
    return shown


def _not_here(what: str, instead: str) -> ApiError:
    return validation_error(f"{what} is not supported by the local SageMaker: {instead}.")
