"""What must be true of an image before it goes to AWS, where each fault would show much later."""

from __future__ import annotations

from typing import Final

from mme_hosting.errors import HostingError
from mme_hosting.images.engine import Image
from mme_hosting.images.registry import DOCKER_MANIFEST, Manifest
from mme_hosting.images.source_tree import SourceTree

MULTI_MODELS: Final = "com.amazonaws.sagemaker.capabilities.multi-models"
BIND_TO_PORT: Final = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port"
REVISION: Final = "org.opencontainers.image.revision"
VERSION: Final = "org.opencontainers.image.version"
DIRTY: Final = "-dirty"
"""The end of the revision of an image that was built from a tree with changes."""

_PLATFORMS: Final = ("linux/amd64", "linux/arm64")
_SHOWN: Final = 5
_BUILD: Final = (
    "build it with make image or make image-gpu, or with docker buildx bake -f "
    "container/docker-bake.hcl"
)


def check_image(image: Image) -> None:
    """Refuse an image that SageMaker would refuse.

    https://docs.aws.amazon.com/sagemaker/latest/dg/build-multi-model-build-container.html

    Raises:
        HostingError: a label is missing, it is for another machine, or its manifest is OCI's.
    """
    for label, reason in (
        (MULTI_MODELS, "CreateModel refuses it with Mode=MultiModel"),
        (BIND_TO_PORT, "it would not start in an inference pipeline"),
    ):
        if image.labels.get(label) != "true":
            raise HostingError(
                f"the image {image.name} does not have the label {label}=true, and without it "
                f"{reason}: {_BUILD}"
            )
    if image.platform not in _PLATFORMS:
        raise HostingError(
            f"the image {image.name} is for {image.platform}, and SageMaker's instances are "
            f"{' or '.join(_PLATFORMS)}: build it with --platform {_PLATFORMS[0]}"
        )
    if image.media_type and image.media_type != DOCKER_MANIFEST:
        raise HostingError(f"the image {image.name} {_refused(image.media_type)}")


def check_manifest(manifest: Manifest, where: str) -> None:
    """Refuse what lies in a registry in a form that CreateModel does not take.

    It answers "Unsupported manifest media type" to the indexes and manifests of OCI that today's
    Docker makes unless told otherwise.

    Raises:
        HostingError: it is no manifest of Docker's own media type.
    """
    if manifest.media_type != DOCKER_MANIFEST:
        raise HostingError(f"{where} {_refused(manifest.media_type)}")


def check_tree(tree: SourceTree | None, images: list[Image], allow_dirty: bool) -> list[str]:
    """Refuse images of which nobody could say later what they were built from.

    Returns:
        What should be known, and does not stop anybody.

    Raises:
        HostingError: not with `allow_dirty`: the tree, or that of an image, has changes.
    """
    faults = [
        f"the image {image.name} was built from a tree with changes"
        for image in images
        if image.labels.get(REVISION, "").endswith(DIRTY)
    ]
    if tree and tree.changes:
        more = len(tree.changes) - _SHOWN
        faults.append(
            f"{tree.root} has changes that no commit holds: {', '.join(tree.changes[:_SHOWN])}"
            f"{f' and {more} more' if more > 0 else ''}"
        )
    if faults and not allow_dirty:
        raise HostingError(
            f"{'; '.join(faults)}. Commit them and build the image again, or say --allow-dirty"
        )
    return faults + [note for image in images if (note := _age(image, tree))]


def _age(image: Image, tree: SourceTree | None) -> str | None:
    revision = image.labels.get(REVISION, "unknown").removesuffix(DIRTY)
    if tree is None or revision == tree.revision:
        return None
    if revision == "unknown":
        return f"the image {image.name} does not say which commit it was built from"
    return (
        f"the image {image.name} was built from the commit {revision[:12]}, and HEAD is "
        f"{tree.revision[:12]}"
    )


def _refused(media_type: str) -> str:
    return (
        f"has a manifest of the type {media_type}, which CreateModel refuses: it takes "
        f"{DOCKER_MANIFEST}; {_BUILD}"
    )
