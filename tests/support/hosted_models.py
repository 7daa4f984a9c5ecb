"""An endpoint's prefix in moto's S3, and archives to put there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import boto3

from mme_hosting.aws import Aws
from mme_hosting.context import Context
from mme_hosting.models.aliases import FILE
from mme_hosting.models.publish import Outcome, Verb, publish
from mme_hosting.settings import Deployment
from support.archives import booster, tar

BUCKET = "houses-bucket"
PREFIX = f"s3://{BUCKET}/models/"


def make(**settings: Any) -> Context:
    """The endpoint of these tests, in a bucket that is made if it is not there."""
    context = Context(Deployment(name="houses", models=PREFIX, **settings), Aws())
    client = context.aws.client("s3")
    if BUCKET not in [each["Name"] for each in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=BUCKET)
    return context


def archive(path: Path, content: str = "one") -> Path:
    """An archive that a server loads; another `content` gives other bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    model = bytes(booster(0).save_raw("ubj"))
    return tar(path, {"model.ubj": model, "about.txt": content.encode()})


def key_of(path: Path, name: str, number: int) -> str:
    """The key that an archive has as the version of this number."""
    return f"{name}/{number}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}.tar.gz"


def run(context: Context, verb: Verb, name: str, path: Path, **more: Any) -> Outcome:
    """Add or update one model."""
    (outcome,) = publish(context, verb, {name: path}, **more)
    return outcome


def keys(client: Any = None) -> list[str]:
    """All keys below the prefix, but the alias file's."""
    pages = (client or boto3.client("s3")).get_paginator("list_objects_v2")
    found = [
        item["Key"].removeprefix("models/")
        for page in pages.paginate(Bucket=BUCKET, Prefix="models/")
        for item in page.get("Contents", [])
    ]
    return [key for key in found if key != FILE]


def alias_file() -> tuple[str, dict[str, Any]]:
    """The entity tag of the alias file, and its content."""
    found = boto3.client("s3").get_object(Bucket=BUCKET, Key=f"models/{FILE}")
    return found["ETag"], json.load(found["Body"])
