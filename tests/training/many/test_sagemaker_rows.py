"""What a job reads is what the other engines train on: the same model comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pandas as pd
import pytest

from mme_training.archives.pack import MODEL_NAME, unpack
from mme_training.data.channel import read_channel
from mme_training.fit import fit
from mme_training.houses import LABEL, make_houses
from mme_training.hyperparameters.parse import parse
from mme_training.many.sagemaker import SageMakerEngine
from mme_training.many.sagemaker_options import SageMakerOptions
from mme_training.many.segments import arrange
from mme_training.many.table import open_table
from mme_training.many.task import train_segment
from mme_training.many.work import Plan, Record
from support.aws import ROLE, aws
from support.sagemaker import BusySageMaker, busy_sagemaker


@pytest.fixture
def busy() -> Iterator[BusySageMaker]:
    with aws() as moto:
        boto3.session.Session().client("s3").create_bucket(Bucket="rows")
        with busy_sagemaker(moto) as server:
            yield server


def test_the_same_model_comes_of_the_uploaded_rows(busy: BusySageMaker, tmp_path: Path) -> None:
    houses = make_houses("Chicago_IL", 300)
    numbers = np.random.default_rng(0)
    houses["ROOF"] = numbers.choice(["tin", "slate", "tile"], len(houses))
    houses["RARE"] = ["once", *["often"] * (len(houses) - 1)]
    houses.loc[5:40, "LOT_ACRES"] = np.nan
    houses["HEATED"] = numbers.random(len(houses)) < 0.5
    houses["CITY"] = "Chicago_IL"
    houses.to_parquet(tmp_path / "houses.parquet")
    table = open_table(tmp_path / "houses.parquet", "CITY", LABEL)
    (segment,) = arrange(table, tmp_path)
    given = {"num_round": 20, "early_stopping_rounds": 3, "eval_metric": "rmse"}
    plan = Plan(LABEL, table.features, given, tmp_path / "out")
    local = train_segment(plan, segment, "f" * 64)
    assert local.error is None
    unpack(plan.out / str(local.path), tmp_path / "model")

    records: list[Record] = []
    options = SageMakerOptions(role=ROLE, image="xgboost-mme", s3_prefix="s3://rows/many")
    engine = SageMakerEngine(options, pause=lambda seconds: None)
    engine.run(plan, [segment], {segment.name: "f" * 64}, records.append)

    asked = busy.requests[0]
    channels = {c["ChannelName"]: c for c in asked["InputDataConfig"]}
    training, validation = (
        read_channel(fetched(channels[name], tmp_path / name), channels[name]["ContentType"])
        for name in ("train", "validation")
    )
    assert training is not None
    assert validation is not None
    fitted = fit(
        parse(asked["HyperParameters"]), training.matrix(1), validation.matrix(1), nthread=1
    )
    fitted.booster.save_model(tmp_path / MODEL_NAME)
    assert (tmp_path / MODEL_NAME).read_bytes() == (tmp_path / "model" / MODEL_NAME).read_bytes()
    assert isinstance(training.features, pd.DataFrame)
    assert tuple(training.features.columns) == table.features
    assert (records[0].train_rows, records[0].validation_rows, records[0].test_rows) == (
        local.train_rows,
        local.validation_rows,
        local.test_rows,
    )


def fetched(channel: dict[str, Any], directory: Path) -> Path:
    """Download a channel as SageMaker does."""
    s3 = boto3.session.Session().client("s3")
    bucket, _, prefix = (
        channel["DataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://").partition("/")
    )
    for item in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
        target = directory / item["Key"].removeprefix(prefix)
        target.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, item["Key"], str(target))
    return directory
