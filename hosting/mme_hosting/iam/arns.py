"""What the policies are about: the ARNs of all that belongs to an endpoint.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mme_hosting.context import VARIANT, Context
from mme_hosting.deploy.resources import DIGITS, alarm_prefix
from mme_hosting.training import place

DEFAULT_REPOSITORY: Final = "xgboost-mme"
"""Where ``mme push`` pushes to."""

_DIGEST: Final = "?" * DIGITS  # not a star: houses-* would be those of houses-2, too

_ECR_IMAGE: Final = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.[a-z.]+/"
    r"(?P<repository>[^:@]+)(?:[:@].+)?"
)


@dataclass(frozen=True)
class Arns:
    """The ARNs of one endpoint's things.

    Raises:
        HostingError: from the properties: the account cannot be asked for.
    """

    context: Context

    @property
    def bucket(self) -> str:
        """The bucket of the models."""
        return f"arn:{self.context.aws.partition}:s3:::{self.context.models.bucket}"

    @property
    def objects(self) -> str:
        """All that is below the prefix of the models."""
        return self.object("*")

    def object(self, name: str) -> str:
        """What is called `name` below the prefix of the models."""
        return f"{self.bucket}/{self.context.models.below(name).key}"

    @property
    def training(self) -> str:
        """All that training jobs read and write, archives that are not published yet included."""
        return f"{self.bucket}/{place(self.context).below('*').key}"

    @property
    def repository(self) -> str:
        """That of the image in ECR; where the image is elsewhere, that of ``mme push``."""
        found = _ECR_IMAGE.fullmatch(self.context.image)
        if not found:
            return self.of("ecr", f"repository/{DEFAULT_REPOSITORY}")
        partition = self.context.aws.partition
        return (
            f"arn:{partition}:ecr:{found['region']}:{found['account']}:"
            f"repository/{found['repository']}"
        )

    @property
    def endpoint(self) -> list[str]:
        """As it is called, and in the lower case that SageMaker's own ARNs have."""
        return self._either(f"endpoint/{self.context.name}")

    @property
    def models(self) -> list[str]:
        """SageMaker's models that are made for it."""
        return self._either(f"model/{self.context.name}-{_DIGEST}")

    @property
    def configs(self) -> list[str]:
        """Its endpoint configurations."""
        return self._either(f"endpoint-config/{self.context.name}-{_DIGEST}")

    @property
    def alarms(self) -> list[str]:
        """Its alarms, and those that target tracking makes for it."""
        tracking = f"TargetTracking-endpoint/{self.context.name}/variant/{VARIANT}-*"
        return [
            self.of("cloudwatch", f"alarm:{name}")
            for name in (f"{alarm_prefix(self.context.name)}*", tracking)
        ]

    def log_group(self, group: str) -> list[str]:
        """A log group and its streams; `group` may be a pattern."""
        arn = self.of("logs", f"log-group:{group}")
        return [arn, f"{arn}:*"]

    def of(self, service: str, resource: str) -> str:
        """The ARN of something in the account and region."""
        aws = self.context.aws
        return f"arn:{aws.partition}:{service}:{aws.region}:{aws.account}:{resource}"

    def shared(self, service: str, resource: str) -> str:
        """The ARN of something that another account may have shared with this one, by its id.

        A subnet that is shared has the ARN of its owner's account:
        https://docs.aws.amazon.com/vpc/latest/userguide/vpc-sharing.html
        """
        aws = self.context.aws
        return f"arn:{aws.partition}:{service}:{aws.region}:*:{resource}"

    def _either(self, resource: str) -> list[str]:
        return sorted({self.of("sagemaker", each) for each in (resource, resource.lower())})
