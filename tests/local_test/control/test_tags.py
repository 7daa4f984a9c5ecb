from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.local_requests import config, model, training_job


def tags(**items: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in items.items()]


def test_tags_of_a_request_are_listed_added_to_and_deleted(sagemaker: Any) -> None:
    arn = sagemaker.create_model(**model(), Tags=tags(city="Chicago", team="a"))["ModelArn"]
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags(city="Chicago", team="a")
    added = sagemaker.add_tags(ResourceArn=arn, Tags=tags(team="b", größe="1"))
    assert added["Tags"] == tags(city="Chicago", team="b", größe="1")
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["team", "none"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags(city="Chicago", größe="1")


def test_every_kind_of_resource_has_tags_and_they_go_with_it(sagemaker: Any) -> None:
    models = sagemaker.create_model(**model(), Tags=tags(a="1"))["ModelArn"]
    configs = sagemaker.create_endpoint_config(**config(), Tags=tags(a="2"))["EndpointConfigArn"]
    endpoints = sagemaker.create_endpoint(
        EndpointName="houses", EndpointConfigName="houses", Tags=tags(a="3")
    )["EndpointArn"]
    jobs = sagemaker.create_training_job(**training_job(), Tags=tags(a="4"))["TrainingJobArn"]
    for value, arn in enumerate((models, configs, endpoints, jobs), start=1):
        assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags(a=str(value))
    sagemaker.delete_model(ModelName="houses")
    with pytest.raises(ClientError, match="Could not find model"):
        sagemaker.list_tags(ResourceArn=models)
    sagemaker.create_model(**model())
    assert sagemaker.list_tags(ResourceArn=models)["Tags"] == []


def test_there_are_fifty_at_most(sagemaker: Any) -> None:
    arn = sagemaker.create_model(**model())["ModelArn"]
    many = tags(**{f"k{number:02}": "v" for number in range(50)})
    sagemaker.add_tags(ResourceArn=arn, Tags=many)
    with pytest.raises(ClientError, match="51 tags: 50 at most"):
        sagemaker.add_tags(ResourceArn=arn, Tags=tags(one="more"))
    assert len(sagemaker.list_tags(ResourceArn=arn)["Tags"]) == 50


@pytest.mark.parametrize(
    ("arn", "message"),
    [
        ("arn:aws:sagemaker:us-east-1:123456789012:model/gone", "Could not find model"),
        ("arn:aws:sagemaker:us-east-1:123456789012:training-job/gone", "Requested resource not"),
        ("arn:aws:sagemaker:us-east-1:123456789012:pipeline/gone", "Could not find resource"),
        ("arn:aws:sagemaker:eu-west-1:123456789012:model/gone", "Could not find resource"),
    ],
)
def test_tags_of_what_is_not_there(sagemaker: Any, arn: str, message: str) -> None:
    with pytest.raises(ClientError, match=message):
        sagemaker.add_tags(ResourceArn=arn, Tags=tags(a="1"))


def test_keys_are_checked(sagemaker: Any) -> None:
    arn = sagemaker.create_model(**model())["ModelArn"]
    with pytest.raises(ClientError) as raised:
        sagemaker.add_tags(ResourceArn=arn, Tags=tags(**{"a;b": "1"}))
    assert raised.value.response["Error"]["Message"] == (
        "1 validation error detected: Value 'a;b' at 'tags.1.member.key' failed to satisfy "
        "constraint: Member must satisfy regular expression pattern: "
        r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"
    )
