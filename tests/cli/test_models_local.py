"""`mme models --local` beside an endpoint of the real local SageMaker that serves them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import xgboost as xgb

from support.archives import booster, tar
from support.local_up import MME, Local, environment, up
from support.models import make_rows
from support.serving import until

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
BUCKET = "sagemaker-us-east-1-123456789012"
ROW = make_rows(1, 5)


def mme(local: Local, *arguments: str | Path) -> str:
    done = subprocess.run(
        [str(MME), "models", *map(str, arguments), "--local"],
        env=environment(local.run, MME_DEPLOY_NAME="houses"),
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def host(local: Local) -> None:
    sagemaker = local.client("sagemaker")
    container = {
        "Image": IMAGE,
        "Mode": "MultiModel",
        "ModelDataUrl": f"s3://{BUCKET}/houses/models/",
    }
    sagemaker.create_model(
        ModelName="houses", ExecutionRoleArn=local.address.role, PrimaryContainer=container
    )
    variant = {
        "VariantName": "main",
        "ModelName": "houses",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName="houses", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="houses", EndpointConfigName="houses")
    until(
        lambda: sagemaker.describe_endpoint(EndpointName="houses")["EndpointStatus"] == "InService",
        60,
        "the endpoint in service",
    )


def answer(local: Local, name: str) -> float:
    """What the endpoint answers for the model's current key."""
    (model,) = json.loads(mme(local, "ls", name, "--json"))["models"]
    body = ",".join(str(value) for value in ROW[0])
    found = local.client("sagemaker-runtime").invoke_endpoint(
        EndpointName="houses",
        TargetModel=model["key"],
        ContentType="text/csv",
        Accept="text/csv",
        Body=body.replace("nan", ""),
    )
    return float(found["Body"].read())


@pytest.mark.slow
def test_an_endpoint_serves_what_is_current_without_an_update(tmp_path: Path) -> None:
    expected, paths = [], []
    for seed in (1, 2):
        model = booster(seed)
        expected.append(float(model.predict(xgb.DMatrix(ROW))[0]))
        raw = bytes(model.save_raw("ubj"))
        paths.append(tar(tmp_path / f"{seed}.tar.gz", {"model.ubj": raw}))
    assert expected[0] != expected[1]
    name = "company_a/houston"
    with up(tmp_path) as local:
        mme(local, "add", "--name", name, paths[0])
        host(local)
        assert answer(local, name) == pytest.approx(expected[0])
        mme(local, "update", "--name", name, paths[1])
        assert answer(local, name) == pytest.approx(expected[1])
        mme(local, "rollback", name)
        assert answer(local, name) == pytest.approx(expected[0])
        mme(local, "rm", name, "--yes")
        assert json.loads(mme(local, "ls", "--json"))["models"] == []
