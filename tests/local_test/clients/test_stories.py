"""The house-price story by every client, unchanged but for its environment.

The environment has proxies that lead nowhere: a call to AWS itself would fail.
"""

from __future__ import annotations

import os
import re
import sys

import pytest

from support.clients import AWS_CLI

SDK_2 = "sagemaker>=2.257,<3"
SDK_3 = "sagemaker>=3.21,<4"
CITIES = ["Chicago_IL", "Houston_TX", "LosAngeles_CA", "NewYork_NY"]
PRICE = r"\d{5,7}(\.\d+)?"


@pytest.mark.slow
def test_boto3(local, example):
    done = local.exec(sys.executable, example("with_boto3.py"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum("Completed" in line and "validation:rmse" in line for line in lines) == 5
    for city in ("Chicago_IL", "Houston_TX", "NewYork_NY", "LosAngeles_CA", "Chicago_IL_v2"):
        assert any(re.fullmatch(f"{city}: {PRICE}", line) for line in lines), city
    assert "Nowhere: ValidationError: Failed to download model data" in done.stdout
    assert lines[-1] == "done"
    assert local.client("sagemaker").list_endpoints()["Endpoints"] == []
    assert local.client("sagemaker").list_models()["Models"] == []


@pytest.mark.slow
def test_aws_cli_and_curl(local, example, client):
    programs = f"{client(AWS_CLI)}{os.pathsep}{os.environ['PATH']}"
    done = local.exec(example("aws_cli.sh"), PATH=programs)
    assert done.returncode == 0, done.stderr
    assert re.search(f"Chicago_IL: {PRICE}\n", done.stdout)
    assert re.search(rf'{{"predictions":\[{{"score":{PRICE}}}\]}}', done.stdout)  # curl's
    assert done.stdout.endswith("done\n")
    assert local.client("sagemaker").list_endpoints()["Endpoints"] == []


@pytest.mark.slow
def test_sagemaker_sdk_2(local, example, client):
    done = local.exec(str(client(SDK_2) / "python"), "-W", "ignore", example("sagemaker_v2.py"))
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert "bucket sagemaker-us-east-1-123456789012, image 6833" in out
    assert out.count(": Completed, s3://") == 4
    assert out.count("'validation:rmse': ") == 4
    models = [f"{city}.tar.gz" for city in CITIES]
    assert f"models: {models}\n" in out
    assert len(re.findall(rf"request: {{'predictions': \[{{'score': {PRICE}}}\]}}", out)) == 8
    # fit(wait=True, logs="All") streams what the container writes.
    assert "#011train-rmse:" in out
    assert "Billable seconds: " in out
    assert re.search(r"v2: {'predictions'", out)
    assert out.endswith("done\n")
    assert local.client("sagemaker").list_endpoints()["Endpoints"] == []


@pytest.mark.slow
def test_sagemaker_sdk_3(local, example, client):
    done = local.exec(str(client(SDK_3) / "python"), "-W", "ignore", example("sagemaker_v3.py"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": Completed, s3://") == 3
    for city in ("Chicago_IL", "Houston_TX", "NewYork_NY"):
        assert re.search(f"^{city}: {PRICE}$", done.stdout, re.MULTILINE), city
    assert done.stdout.rstrip().endswith("done")
