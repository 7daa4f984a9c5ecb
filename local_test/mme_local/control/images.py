"""Images of models: they must exist, and say that they serve several models, where they are to.

https://docs.aws.amazon.com/sagemaker/latest/dg/build-multi-model-build-container.html
"""

from __future__ import annotations

from typing import Final

from mme_local.containers.spec import Runtime
from mme_local.errors import ApiError, LocalError, validation_error

MULTI_MODEL_LABEL: Final = "com.amazonaws.sagemaker.capabilities.multi-models"


async def check_image(runtime: Runtime, image: str, multi_model: bool) -> None:
    """Raise what CreateModel raises for an image that is not there, or lacks the label.

    Raises:
        ApiError: AWS's texts; or why the image cannot be looked up.
    """
    try:
        labels = await runtime.labels(image)
    except ApiError:
        raise
    except LocalError as error:
        raise validation_error(f"Image {image} cannot be looked up: {error}") from error
    if labels is None:
        raise validation_error(f"Requested image {image} not found.")
    if multi_model and labels.get(MULTI_MODEL_LABEL, "").lower() != "true":
        raise validation_error(
            f"Your Ecr Image {image} does not contain required "
            f"{MULTI_MODEL_LABEL}=true Docker label(s)."
        )
