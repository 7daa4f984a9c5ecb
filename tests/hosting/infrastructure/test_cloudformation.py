"""The CloudFormation template: what it makes, and what `mme deploy` asks of AWS."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from cfnlint.api import ManualArgs, lint_file
from cfnlint.decode.cfn_yaml import load
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from moto.cloudformation.parsing import ResourceMap, clean_json

from mme_hosting.deploy.resources import resources
from mme_hosting.iam.policies import execution, trust
from mme_hosting.settings import Autoscaling, Deployment
from support.aws import ACCOUNT, REGION, ROLE, aws
from support.endpoints import EVERY, FULL, IMAGE, KEY, PLAIN, TOPIC, context, statements

TEMPLATE = Path(__file__).parents[3] / "hosting/cloudformation/endpoint.yaml"
_LOADED: dict[str, Any] = dict(load(str(TEMPLATE)))
ALARMS = ("ServerErrors", "Latency", "CacheHit", "Memory", "Disk")
THRESHOLDS = ("server_errors", "cache_hit", "memory_percent", "disk_percent")
INSTANCE_TYPE = "ml.m5.large"  # moto knows few
# Which settings are no parameters, each for its own reason.
APART = {"models", "region", "environment", "health_check", "tags"}


@pytest.fixture(scope="module", autouse=True)
def _aws() -> Iterator[None]:
    with aws():
        yield


def _pascal(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _text(value: Any) -> str:
    """As a parameter is written."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def parameters(settings: dict[str, Any]) -> dict[str, str]:
    """The settings of mme.yaml as the template's parameters."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if name == "models":
            bucket, _, prefix = (value or "").removeprefix("s3://").partition("/")
            found |= {"ModelsBucket": bucket, "ModelsPrefix": prefix}
        elif name in ("vpc", "metrics", "autoscaling", "alarms"):
            if name in ("autoscaling", "alarms"):
                found[_pascal(name)] = _text(value is not None)
            for inner, each in (value or {}).items():
                found[_pascal(f"{name}_{inner}")] = _text(each)
        elif name not in APART:
            found[_pascal(name)] = _text(value)
    return found


def _template(settings: dict[str, Any]) -> dict[str, Any]:
    template = copy.deepcopy(_LOADED)
    container = template["Resources"]["Model"]["Properties"]["PrimaryContainer"]
    container["Environment"] = settings.get("environment", {})
    return template


def resolved(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Properties of each resource that there is to be, as moto's CloudFormation resolves them."""
    template = _template(settings)
    given = parameters(settings)
    known = ResourceMap("id", "stack", given, {}, REGION, ACCOUNT, template, None)
    known.load()
    return {
        name: clean_json(each["Properties"], known)
        for name, each in template["Resources"].items()
        if "Condition" not in each or known.lazy_condition_map[each["Condition"]]
    }


def _same(left: Any, right: Any) -> None:
    assert _plain(left) == _plain(right)


def _plain(value: Any) -> Any:
    """CloudFormation takes text for a number or a truth."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return float(value)
    except ValueError:
        return value


def check(settings: dict[str, Any]) -> None:
    """The template asks for what mme deploy asks for."""
    found = resolved(settings)
    expected = resources(context({**settings, "tags": {}}))  # the stack has them

    model = {"ModelName": expected.model["ModelName"], **found["Model"]}
    if not settings.get("environment"):
        assert model["PrimaryContainer"].pop("Environment") == {}
    _same(model, expected.model)

    config = {"EndpointConfigName": expected.config["EndpointConfigName"]} | found["EndpointConfig"]
    assert config["ProductionVariants"][0]["ModelName"].startswith("stack-Model-")
    config["ProductionVariants"][0]["ModelName"] = expected.model["ModelName"]
    _same(config, expected.config)

    endpoint = found["Endpoint"]
    assert endpoint.pop("EndpointConfigName").startswith("stack-EndpointConfig-")
    scales = settings.get("autoscaling") is not None
    assert endpoint == {"EndpointName": settings["name"], "RetainAllVariantProperties": scales}

    assert ("ScalableTarget" in found) == ("ScalingPolicy" in found) == scales
    _same(found.get("ScalableTarget", {}), expected.target or {})
    _same(found.get("ScalingPolicy", {}), expected.policy or {})
    alarms = [found[f"{each}Alarm"] for each in ALARMS if f"{each}Alarm" in found]
    _same(alarms, list(expected.alarms))


@pytest.mark.parametrize("name", EVERY)
def test_the_requests_are_those_of_mme_deploy(name: str) -> None:
    check(EVERY[name])


def _optional(of: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | of


_COUNT = st.integers(1, 40)
_SETTINGS = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[A-Za-z0-9](-?[A-Za-z0-9]){0,20}", fullmatch=True),
        "image": st.just(IMAGE),
        "role": st.just(ROLE),
        "instances": _COUNT,
        "cache_models": st.booleans(),
        "network_isolation": st.booleans(),
    },
    optional={
        "models": st.sampled_from(["s3://houses-of-example/a/", "s3://houses-of-example/a/b/"]),
        "environment": st.dictionaries(st.sampled_from(["MME_HOSTS", "MME_DEVICE"]), st.just("1")),
        "vpc": _optional(st.just(FULL["vpc"])),
        "kms_key": _optional(st.just(KEY)),
        "volume_gb": _optional(st.integers(1, 512)),
        "startup_seconds": _optional(st.integers(60, 3600)),
        "inference_ami": _optional(st.just(FULL["inference_ami"])),
        "metrics": st.fixed_dictionaries(
            {},
            optional={
                "enhanced": st.booleans(),
                "detailed": st.booleans(),
                "publish_seconds": st.sampled_from([10, 60, 300]),
            },
        ),
        "autoscaling": _optional(
            st.fixed_dictionaries(
                {"min": _COUNT, "max": st.integers(40, 99)},
                optional={
                    "invocations_per_instance": st.integers(1, 9999),
                    "scale_out_cooldown": st.integers(0, 999),
                    "scale_in_cooldown": st.integers(0, 999),
                },
            )
        ),
        "alarms": _optional(
            st.fixed_dictionaries(
                {},
                optional={
                    "notify": _optional(st.just(TOPIC)),
                    "latency_ms": _optional(st.integers(1, 99999)),
                    **{each: _optional(st.sampled_from([0.25, 0.5, 1])) for each in THRESHOLDS},
                },
            )
        ),
    },
)


@given(_SETTINGS)
@bounded(max_examples=30)
def test_whatever_the_settings_the_requests_are_the_same(settings: dict[str, Any]) -> None:
    check(settings)


def test_every_setting_is_a_parameter_with_its_default() -> None:
    declared = _LOADED["Parameters"]
    default = Deployment(name="houses", vpc=FULL["vpc"], autoscaling=Autoscaling(), alarms={})
    written = parameters(default.model_dump(mode="json"))
    written |= {"ModelsBucket": "", "ModelsPrefix": "", "Autoscaling": "false", "Alarms": "false"}
    written |= {"VpcSubnets": "", "VpcSecurityGroups": ""}

    assert written.keys() == declared.keys()
    for name in declared.keys() - {"Name", "Image"}:
        assert _plain(str(declared[name]["Default"])) == _plain(written[name]), name
    assert "Default" not in declared["Name"] | declared["Image"]


def test_the_template_has_no_findings() -> None:
    checks = ManualArgs(include_checks=["I"], regions=[REGION])
    assert [str(each) for each in lint_file(TEMPLATE, config=checks)] == []


@pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning")
@pytest.mark.parametrize("name", EVERY)
def test_a_stack_is_made(name: str) -> None:
    """By moto, which gives the endpoint a name of its own, and knows no alarms and no scaling."""
    settings = EVERY[name]
    expected = resources(context({**settings, "tags": {}}))
    wanted = {**parameters(settings), "Role": "", "InstanceType": INSTANCE_TYPE}
    cloudformation = boto3.client("cloudformation")
    cloudformation.create_stack(
        StackName=f"{name}-stack",
        TemplateBody=TEMPLATE.read_text(),
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in wanted.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    [stack] = cloudformation.describe_stacks(StackName=f"{name}-stack")["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
    sagemaker = boto3.client("sagemaker")
    endpoint = sagemaker.describe_endpoint(EndpointName=outputs["Endpoint"])
    config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    [variant] = config["ProductionVariants"]
    model = sagemaker.describe_model(ModelName=variant["ModelName"])

    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert outputs["EndpointArn"] == endpoint["EndpointArn"]
    assert outputs["Models"] == expected.model["PrimaryContainer"]["ModelDataUrl"]
    assert outputs["Role"] == model["ExecutionRoleArn"]
    of_mme = expected.config["ProductionVariants"][0]
    _within({**of_mme, "ModelName": variant["ModelName"], "InstanceType": INSTANCE_TYPE}, variant)
    assert config.get("KmsKeyId") == expected.config.get("KmsKeyId")
    container = expected.model["PrimaryContainer"]
    container.pop("Environment", None)  # by hand in the template
    _within(container, model["PrimaryContainer"])
    assert (model.get("VpcConfig") or None) == expected.model.get("VpcConfig")

    iam = boto3.client("iam")
    role = outputs["Role"].rpartition("/")[2]
    made = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    assert statements(made) == statements(trust(context(settings)))


def _MADE(variant: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
    return {"ModelName": variant["ModelName"], "InstanceType": INSTANCE_TYPE}


def _within(expected: dict[str, Any], found: dict[str, Any]) -> None:
    _same({name: found[name] for name in expected}, expected)


@pytest.mark.parametrize(
    "settings",
    [
        PLAIN,
        FULL,
        {**PLAIN, "models": "s3://houses-of-example/deep/prefix/", "kms_key": KEY},
        {**PLAIN, "image": f"{IMAGE.partition(':')[0]}@sha256:{'0' * 64}"},
    ],
)
def test_the_execution_role(settings: dict[str, Any]) -> None:
    found = resolved({**settings, "role": None})
    [policy] = found["ExecutionRole"]["Policies"]
    made = statements(policy["PolicyDocument"])
    expected = statements(execution(context(settings)))

    if settings.get("vpc"):
        # Of each item of a list no ARN can be made; a condition names them instead.
        mine, of_mme = made.pop("NetworkInterfaces"), expected.pop("NetworkInterfaces")
        assert mine["Action"] == of_mme["Action"]
        assert mine["Condition"]["StringEqualsIfExists"] == {
            "ec2:SecurityGroupID": settings["vpc"]["security_groups"],
            "ec2:SubnetID": settings["vpc"]["subnets"],
        }
    assert made == expected
    assert "ExecutionRole" not in resolved(settings)
    assert statements(found["ExecutionRole"]["AssumeRolePolicyDocument"]) == statements(
        trust(context(settings))
    )
