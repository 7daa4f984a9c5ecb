"""Which image of this machine the image of a request runs as.

AWS's own XGBoost image, and an image of ours in ECR, run as our image; any other as itself.
https://docs.aws.amazon.com/sagemaker/latest/dg-ecr-paths/sagemaker-algo-docker-registry-paths.html
"""

from __future__ import annotations

import re
from typing import Final

OWN_REPOSITORY: Final = "xgboost-mme"
AWS_REPOSITORIES: Final = ("sagemaker-xgboost", "xgboost")
"""``xgboost`` is that of the versions before 0.90: ``xgboost:1``, ``xgboost:latest``."""
LABELS: Final = {
    "com.amazonaws.sagemaker.capabilities.multi-models": "true",
    "com.amazonaws.sagemaker.capabilities.accept-bind-to-port": "true",
}
"""What SageMaker asks of a multi-model image; our image has both."""

_ECR: Final = re.compile(
    r"\d{12}\.dkr[.-]ecr(-fips)?\.[a-z0-9-]+\.(amazonaws\.com(\.cn)?|on\.aws)/(?P<rest>.+)"
)


def resolve(uri: str, image: str) -> str:
    """What the Docker engine is to run for `uri`.

    Args:
        uri: as the client named the image.
        image: `LocalSettings.image`, which stands for AWS's XGBoost image and ours in ECR.
    """
    match = _ECR.fullmatch(uri)
    if match is None:
        return uri
    repository = _repository(match["rest"])
    ours = repository in AWS_REPOSITORIES or repository.rpartition("/")[2] == OWN_REPOSITORY
    return image if ours else uri


def is_ours(uri: str, image: str) -> bool:
    """Whether `uri` names our image, or what that stands for: these run without Docker too."""
    return resolve(uri, image) == image or _repository(uri) == OWN_REPOSITORY


def missing(uri: str, image: str) -> str:
    """What to say when the Docker engine has not got the image that `uri` runs as."""
    local = resolve(uri, image)
    if local == uri:
        return (
            f"the Docker engine has no image {uri}: build it, or docker pull it; nothing is pulled "
            "here"
        )
    return (
        f"{uri} runs as the image {local}, and the Docker engine has no such image: make image "
        "builds it, or name another in MME_LOCAL_IMAGE"
    )


def _repository(reference: str) -> str:
    """The repository of ``repository:tag@digest``."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
