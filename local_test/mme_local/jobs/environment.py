"""The environment of a training job's container, besides what the request adds."""

from __future__ import annotations

from mme_local.aws.clients import Clients
from mme_local.control.records import TrainingJob


def environment(job: TrainingJob, clients: Clients, in_docker: bool) -> dict[str, str]:
    """What SageMaker sets; and what leads AWS's clients in the container to the local AWS.

    From a container in Docker nothing leads to this machine's loopback: there they find nothing.
    """
    own = {
        "TRAINING_JOB_NAME": job.name,
        "TRAINING_JOB_ARN": job.arn,
        "AWS_REGION": clients.region,
        "AWS_DEFAULT_REGION": clients.region,
    }
    if in_docker:
        return own
    return {
        **own,
        "AWS_ENDPOINT_URL": clients.endpoint,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }
