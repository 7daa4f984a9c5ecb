"""House prices by the resources of version 3 of the ``sagemaker`` SDK: nothing in it is local.

mme local exec -- python examples/local_sagemaker/sagemaker_v3.py

Version 3 has no MultiDataModel; its resources are AWS's API as it is.
"""

import os
import tempfile
import time
from pathlib import Path

import boto3
import houses
from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import Endpoint, EndpointConfig, Model, TrainingJob
from sagemaker.core.shapes import (
    AlgorithmSpecification,
    Channel,
    ContainerDefinition,
    DataSource,
    OutputDataConfig,
    ProductionVariant,
    ResourceConfig,
    S3DataSource,
    StoppingCondition,
)

CITIES = ["Chicago_IL", "Houston_TX", "NewYork_NY"]
HOUSE = "1995,3000,3,2.0,1.0,2"

session = Session()
role = os.environ["AWS_SAGEMAKER_ROLE"]
bucket = session.default_bucket()
image = image_uris.retrieve("xgboost", session.boto_region_name, version="1.7-1")
name = f"houses-{int(time.time())}"
print(f"bucket {bucket}, image {image}")


def channel(city: str, which: str) -> Channel:
    """A channel of CSV files."""
    source = S3DataSource(
        s3_data_type="S3Prefix", s3_uri=f"s3://{bucket}/{name}/data/{city}/{which}/"
    )
    return Channel(
        channel_name=which,
        content_type="text/csv",
        data_source=DataSource(s3_data_source=source),
    )


def start_training(city: str, directory: Path) -> TrainingJob:
    """Upload a city's houses and start a training job; return without waiting for it."""
    session.upload_data(
        str(houses.write(city, directory)), bucket=bucket, key_prefix=f"{name}/data/{city}"
    )
    return TrainingJob.create(
        training_job_name=f"{city.replace('_', '-')}-{name}",
        role_arn=role,
        algorithm_specification=AlgorithmSpecification(
            training_image=image, training_input_mode="File"
        ),
        hyper_parameters={"objective": "reg:squarederror", "num_round": "25"},
        input_data_config=[channel(city, "train"), channel(city, "validation")],
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/{name}/artifacts/"),
        resource_config=ResourceConfig(
            instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=10
        ),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=600),
    )


with tempfile.TemporaryDirectory() as scratch:
    jobs = {city: start_training(city, Path(scratch)) for city in CITIES}
    for city, job in jobs.items():
        job.wait(poll=1)
        artifact = job.model_artifacts.s3_model_artifacts
        print(f"{city}: {job.training_job_status}, {artifact}")
        boto3.client("s3").copy_object(
            Bucket=bucket,
            Key=f"{name}/models/{city}.tar.gz",
            CopySource=artifact.removeprefix("s3://"),
        )

model = Model.create(
    model_name=name,
    execution_role_arn=role,
    primary_container=ContainerDefinition(
        image=image, mode="MultiModel", model_data_url=f"s3://{bucket}/{name}/models/"
    ),
)
configuration = EndpointConfig.create(
    endpoint_config_name=name,
    production_variants=[
        ProductionVariant(
            variant_name="AllTraffic",
            model_name=name,
            instance_type="ml.m5.large",
            initial_instance_count=1,
            initial_variant_weight=1.0,
        )
    ],
)
endpoint = Endpoint.create(endpoint_name=name, endpoint_config_name=name)
endpoint.wait_for_status("InService", poll=1)
for city in CITIES:
    answer = endpoint.invoke(
        body=HOUSE, content_type="text/csv", accept="text/csv", target_model=f"{city}.tar.gz"
    )
    print(f"{city}: {answer.body.read().decode().strip()}")

endpoint.delete()
endpoint.wait_for_delete(poll=1)
configuration.delete()
model.delete()
print("done")
