"""What to do about what SageMaker says when it will not have an endpoint.

https://docs.aws.amazon.com/sagemaker/latest/dg/multi-model-support.html
https://docs.aws.amazon.com/general/latest/gr/sagemaker.html (quotas)
"""

from __future__ import annotations

import re
from typing import Final

from mme_hosting.aws import AwsError

_ADVICE: Final = (
    (
        r"deregistered as scalable target|scalable target.*deregister",
        "Others have made its autoscaling, which mme deploy leaves alone: delete their policies by "
        "aws application-autoscaling delete-scaling-policy and deregister-scalable-target, or keep "
        "the instance type and the production variant",
    ),
    (
        r"multi-?model.*not supported.*instance|not supported.*instance type",
        "Give another --instance-type: multi-model endpoints run on every CPU type that hosts, and "
        "on GPU types with one GPU (docs/gpu.md)",
    ),
    (
        r"failed to satisfy enum value set|instanceType.*member must satisfy",
        "SageMaker does not host on that type: ml.t3 trains and does not host, ml.t2 the other way "
        "round; give another --instance-type",
    ),
    (
        r"account-level service limit|ResourceLimitExceeded|for endpoint usage",
        "Ask for more in the console under Service Quotas, Amazon SageMaker, "
        "'<instance type> for endpoint usage' (0 in a new account for many types), or give another "
        "--instance-type",
    ),
    (
        r"capacity|availability zone",
        "AWS has no such instances free: wait, or give another --instance-type",
    ),
    (
        r"does not contain required.*label",
        "That image is none for multi-model endpoints: mme push pushes one that is, and says its "
        "URI",
    ),
    (
        r"media type|manifest",
        "SageMaker takes images with Docker's manifest only, not OCI's: mme push pushes such",
    ),
    (
        r"ecr:|does not grant|not authorized.*ecr",
        "The execution role, or the repository's policy, must let SageMaker pull the image: "
        "mme iam execution says what it takes",
    ),
    (
        r"requested image|could not find image|image .*(not found|does not exist)|repository",
        "Push it with mme push, or give another --image: it must be in ECR, in this region",
    ),
    (
        r"could not find endpoint configuration",
        "An update needs the configuration that the endpoint has as well as the new one: make one "
        "of that name again, or mme delete and mme deploy",
    ),
    (
        r"volume.?size.*not allowed",
        "The instance type has a disk of its own, and its size cannot be set: take volume_gb out "
        "of mme.yaml",
    ),
    (
        r"assume role|assume the role|role.*(invalid|not exist|not found)",
        "The role must exist and let sagemaker.amazonaws.com assume it: mme iam execution says "
        "with which policies. One that was made a moment ago is not known everywhere yet: run "
        "again",
    ),
    (
        r"ping health check",
        "The container does not start, or not within startup_seconds; its log says why",
    ),
    (
        r"model data|s3:|access denied",
        "The execution role must be allowed to read the models' prefix: mme iam execution says how",
    ),
)

_LONG_LIST: Final = re.compile(r"\[[^\]]{200,}\]")  # of all instance types that there are


def advice(said: str) -> str:
    """What to do about SageMaker's words; empty where that is not known."""
    return next(
        (text for pattern, text in _ADVICE if re.search(pattern, said, re.IGNORECASE | re.DOTALL)),
        "",
    )


def explain(error: AwsError, resource: str) -> str:
    """What has failed, on what, and what to do about it."""
    found = "" if error.denied else advice(f"{error.code} {error.said}")
    if not error.code or not found:
        return str(error)
    said = _LONG_LIST.sub("[...]", error.said).rstrip(". ")
    return f"{error.call} for {resource} failed: {said} ({error.code}). {found}"
