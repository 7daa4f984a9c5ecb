"""An endpoint as it is configured, and its account: what is left out is found here."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from importlib import metadata
from typing import Final

from mme_hosting.aws import Aws
from mme_hosting.errors import HostingError
from mme_hosting.settings import Deployment
from mme_training import s3

ROLE_VARIABLE: Final = "AWS_SAGEMAKER_ROLE"
VARIANT: Final = "main"
"""The name of the production variant; of more than one, AWS's pages contradict each other."""

_GPU_FAMILIES: Final = ("g", "p")


def is_gpu(instance_type: str) -> bool:
    """Whether an instance type has a GPU, by its family: ml.g5.xlarge, ml.p3.2xlarge."""
    return instance_type.removeprefix("ml.").startswith(_GPU_FAMILIES)


@dataclass(frozen=True)
class Context:
    """An endpoint's settings, and AWS.

    Raises:
        HostingError: from the properties: what is left out cannot be found, and how to say it.
    """

    deployment: Deployment
    aws: Aws

    @property
    def name(self) -> str:
        """Of the endpoint."""
        return self.deployment.name

    @property
    def role(self) -> str:
        """ARN of the execution role."""
        found = self.deployment.role or os.environ.get(ROLE_VARIABLE)
        if not found:
            raise HostingError(
                "no execution role is known: write role: in mme.yaml, or set "
                f"{ROLE_VARIABLE}; mme iam execution says what it must be allowed"
            )
        return found

    @functools.cached_property
    def models(self) -> s3.Place:
        """The prefix that the models are below, with a slash at its end."""
        prefix = self.deployment.models
        if prefix is None:
            bucket = f"sagemaker-{self.aws.region}-{self.aws.account}"
            prefix = f"s3://{bucket}/{self.name}/models/"
        return s3.parse(prefix).below("")

    @functools.cached_property
    def image(self) -> str:
        """URI of the image that the containers run."""
        if self.deployment.image:
            return self.deployment.image
        variant = "gpu" if is_gpu(self.deployment.instance_type) else "cpu"
        return f"{self.aws.registry}/xgboost-mme:{metadata.version('xgboost-mme')}-{variant}"
