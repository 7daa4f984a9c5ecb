"""The requests that make an endpoint, against the shapes that botocore checks them with."""

from __future__ import annotations

import functools

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from mme_hosting.aws import Aws
from mme_hosting.context import Context
from mme_hosting.deploy.resources import resources
from mme_hosting.errors import HostingError
from mme_hosting.settings import Alarms, Autoscaling, Deployment, Vpc

ROLE = "arn:aws:iam::123456789012:role/houses"
_APIS = {
    "model": ("sagemaker", "CreateModel"),
    "config": ("sagemaker", "CreateEndpointConfig"),
    "endpoint": ("sagemaker", "CreateEndpoint"),
    "target": ("application-autoscaling", "RegisterScalableTarget"),
    "policy": ("application-autoscaling", "PutScalingPolicy"),
    "alarms": ("cloudwatch", "PutMetricAlarm"),
}


def context(**settings) -> Context:
    account = Aws("eu-west-1")
    account.__dict__["caller"] = "arn:aws:iam::123456789012:user/someone"
    return Context(Deployment.model_validate({"name": "houses", "role": ROLE, **settings}), account)


def made(**settings):
    return resources(context(**settings))


@functools.cache
def shape_of(service: str, operation: str):
    service_model = botocore.session.get_session().get_service_model(service)
    return service_model.operation_model(operation).input_shape


def assert_valid(found) -> None:
    for member, api in _APIS.items():
        shape = shape_of(*api)
        requests = getattr(found, member)
        for request in requests if isinstance(requests, tuple) else [requests]:
            if request is not None:
                report = ParamValidator().validate(request, shape)
                assert not report.has_errors(), report.generate_report()
                unknown = set(request) - set(shape.members)
                assert not unknown


def test_what_the_least_settings_make() -> None:
    found = made()
    assert_valid(found)
    assert found.model["PrimaryContainer"] == {
        "Image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/xgboost-mme:0.1.0-cpu",
        "Mode": "MultiModel",
        "ModelDataUrl": "s3://sagemaker-eu-west-1-123456789012/houses/models/",
        "MultiModelConfig": {"ModelCacheSetting": "Enabled"},
    }
    (variant,) = found.config["ProductionVariants"]
    assert variant["ModelName"] == found.model["ModelName"]
    assert (variant["InstanceType"], variant["InitialInstanceCount"]) == ("ml.m5.large", 1)
    assert found.endpoint["EndpointConfigName"] == found.config["EndpointConfigName"]
    assert (found.target, found.policy, found.alarms) == (None, None, ())


def test_what_all_settings_make() -> None:
    found = made(
        models="s3://bucket/prefix",
        environment={"MME_HOSTS": "2"},
        cache_models=False,
        network_isolation=True,
        vpc=Vpc(subnets=["subnet-1"], security_groups=["sg-1"]),
        kms_key="alias/houses",
        volume_gb=64,
        startup_seconds=600,
        instance_type="ml.g5.xlarge",
        inference_ami="al2-ami-sagemaker-inference-gpu-3-1",
        autoscaling=Autoscaling(min=2, max=6),
        alarms=Alarms(notify="arn:aws:sns:eu-west-1:123456789012:houses"),
        tags={"team": "prices"},
    )
    assert_valid(found)
    assert found.model["PrimaryContainer"]["ModelDataUrl"] == "s3://bucket/prefix/"
    assert found.model["PrimaryContainer"]["Image"].endswith("-gpu")
    assert found.model["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert found.config["KmsKeyId"] == "alias/houses"
    assert len(found.alarms) == 5
    tagged = (found.model, found.config, found.endpoint, *found.alarms)
    assert all(each["Tags"] == [{"Key": "team", "Value": "prices"}] for each in tagged)


def test_the_same_settings_have_the_same_names_and_others_have_others() -> None:
    def names(**settings) -> tuple[str, str]:
        found = made(**settings)
        return found.model["ModelName"], found.config["EndpointConfigName"]

    assert names() == names() == names(instances=3) == names(tags={"a": "b"})
    assert names() == names(autoscaling=Autoscaling(), alarms=Alarms())
    other_type = names(instance_type="ml.m5.xlarge")
    assert other_type[0] == names()[0]
    assert other_type[1] != names()[1]
    assert all(a != b for a, b in zip(names(), names(environment={"MME_HOSTS": "1"}), strict=True))


def test_an_alarm_without_a_threshold_is_none() -> None:
    found = made(alarms=Alarms(latency_ms=None, cache_hit=None))
    assert [alarm["AlarmName"] for alarm in found.alarms] == [
        "houses/mme/server-errors",
        "houses/mme/memory",
        "houses/mme/disk",
    ]


def test_the_role_is_that_of_the_environment_where_none_is_set(monkeypatch) -> None:
    monkeypatch.delenv("AWS_SAGEMAKER_ROLE", raising=False)
    with pytest.raises(HostingError, match=r"no execution role is known: write role: in mme\.yaml"):
        made(role=None)
    monkeypatch.setenv("AWS_SAGEMAKER_ROLE", ROLE)
    assert made(role=None).model["ExecutionRoleArn"] == ROLE


def test_china_has_a_registry_of_its_own() -> None:
    there = context()
    there.aws.__dict__["caller"] = "arn:aws-cn:iam::123456789012:user/someone"
    assert there.image.startswith("123456789012.dkr.ecr.eu-west-1.amazonaws.com.cn/xgboost-mme:")


@given(
    st.builds(
        dict,
        name=st.from_regex(r"[A-Za-z0-9](-?[A-Za-z0-9]){0,24}", fullmatch=True),
        instances=st.integers(1, 100),
        environment=st.dictionaries(
            st.from_regex(r"[A-Z_][A-Z0-9_]{0,20}", fullmatch=True),
            st.text(max_size=30),
            max_size=3,
        ),
        autoscaling=st.none() | st.just(Autoscaling(min=1, max=3)),
        alarms=st.none() | st.builds(Alarms, cache_hit=st.none() | st.floats(0, 1)),
    )
)
def test_whatever_is_set_makes_valid_requests(settings) -> None:
    assert_valid(made(**settings))
