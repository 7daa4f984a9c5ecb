"""Endpoints of the real local SageMaker, made by boto3, and `mme` as its users run it on them."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.archives import booster
from support.local_up import MME, Local, environment
from support.serving import until

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
BUCKET = "sagemaker-us-east-1-123456789012"
VARIANT = "main"


def archive(model: bytes | None = None, **code: str) -> bytes:
    """A model's archive; `code` are modules in its ``code/``, as ``inference="..."``."""
    files = {"model.ubj": bytes(booster().save_raw("ubj")) if model is None else model}
    files |= {f"code/{name}.py": text.encode() for name, text in code.items()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def put(local: Local, endpoint: str, key: str, content: bytes) -> None:
    """Put an archive where the endpoint's default prefix of models is."""
    path = f"{endpoint}/models/{key}"
    local.client("s3").put_object(Bucket=BUCKET, Key=path, Body=content)


def host(
    local: Local,
    name: str,
    archives: Mapping[str, bytes],
    variant: str = VARIANT,
    **settings: str,
) -> None:
    """Make an endpoint with these archives, and wait until it serves."""
    for key, content in archives.items():
        put(local, name, key, content)
    sagemaker = local.client("sagemaker")
    container: dict[str, Any] = {
        "Image": IMAGE,
        "Mode": "MultiModel",
        "ModelDataUrl": f"s3://{BUCKET}/{name}/models/",
        "Environment": settings,
    }
    sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=local.address.role, PrimaryContainer=container
    )
    production = {
        "VariantName": variant,
        "ModelName": name,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[production])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    until(lambda: status(local, name) == "InService", 60, "the endpoint in service")


def status(local: Local, name: str) -> str:
    """Of an endpoint."""
    found = local.client("sagemaker").describe_endpoint(EndpointName=name)
    assert found["EndpointStatus"] != "Failed", found
    return str(found["EndpointStatus"])


def mme(
    local: Local,
    verb: str,
    *arguments: str | Path,
    stdin: bytes | None = None,
    within: float = 90,
    **more: str,
) -> subprocess.CompletedProcess[bytes]:
    """Run `mme VERB --local ...` in a user's environment."""
    return subprocess.run(
        [str(MME), verb, "--local", *map(str, arguments)],
        env=environment(local.run, **more),
        input=stdin,
        capture_output=True,
        timeout=within,
        check=False,
        cwd=local.run.parent,
    )
