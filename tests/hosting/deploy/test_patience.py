"""What AWS refuses for a moment only, and what it refuses for good."""

from __future__ import annotations

import pytest

from mme_hosting.aws import AwsError
from mme_hosting.deploy.patience import passes
from mme_hosting.deploy.steps import Step, autoscaling, sagemaker

MODEL = sagemaker("+", "CreateModel", "the model", {"ModelName": "houses-0a"})
CONFIG = sagemaker("+", "CreateEndpointConfig", "", {"EndpointConfigName": "houses-0b"})
CREATE = sagemaker("+", "CreateEndpoint", "", {"EndpointName": "houses"})
UPDATE = sagemaker("~", "UpdateEndpoint", "", {"EndpointName": "houses"})
REGISTER = autoscaling("+", "RegisterScalableTarget", "", {})
POLICY = autoscaling("+", "PutScalingPolicy", "", {})
DEREGISTER = autoscaling("-", "DeregisterScalableTarget", "", {})

INVALID = "ValidationException"
NO_MODEL = 'Could not find model "arn:aws:sagemaker:us-east-1:123456789012:model/houses-0a".'
NO_CONFIG = (
    "Could not find endpoint configuration "
    '"arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/houses-0b".'
)
SCALED = (
    'The variant(s) "[main]" must be deregistered as scalable targets with AWS Auto Scaling before '
    "they can be removed or have their instance type updated."
)
NO_TARGET = "No scalable target registered for service namespace: sagemaker"
NO_ROLE = "Unable to assume IAM role: arn:aws:iam::123456789012:role/aws-service-role/x"


@pytest.mark.parametrize(
    ("step", "code", "said", "done", "expected"),
    [
        (CONFIG, INVALID, NO_MODEL, [MODEL], True),
        (CREATE, INVALID, NO_CONFIG, [MODEL, CONFIG], True),
        (UPDATE, INVALID, NO_CONFIG, [CONFIG], True),
        (UPDATE, INVALID, NO_CONFIG, [], False),
        (UPDATE, INVALID, NO_CONFIG.replace("-0b", "-0c"), [MODEL, CONFIG], False),
        (UPDATE, INVALID, SCALED, [DEREGISTER], True),
        (UPDATE, INVALID, SCALED, [MODEL], False),
        (UPDATE, INVALID, "Cannot update in-progress endpoint.", [MODEL, CONFIG], False),
        (POLICY, "ObjectNotFoundException", NO_TARGET, [REGISTER], True),
        (POLICY, "ObjectNotFoundException", NO_TARGET, [], False),
        (POLICY, "FailedResourceAccessException", "Rate exceeded", [], True),
        (REGISTER, "ConcurrentUpdateException", "Try again.", [], True),
        (REGISTER, INVALID, NO_ROLE, [], True),
        (REGISTER, INVALID, "Minimum capacity cannot be greater.", [], False),
        (MODEL, "AccessDeniedException", "You may not.", [], False),
    ],
)
def test_what_passes(step: Step, code: str, said: str, done: list[Step], expected: bool):
    error = AwsError("...", call=step.operation, code=code, said=said)
    assert passes(step, error, done) is expected
