"""House prices by boto3 alone, as for AWS: nothing in it is local.

mme local exec -- python examples/local_sagemaker/with_boto3.py
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
import houses

CITIES = ["Chicago_IL", "Houston_TX", "NewYork_NY", "LosAngeles_CA"]
HOUSE = "1995,3000,3,2.0,1.0,2"
# AWS's own image of XGBoost: its URI is in AWS's documentation.
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"

s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
runtime = boto3.client("sagemaker-runtime")
account = boto3.client("sts").get_caller_identity()["Account"]
role = os.environ["AWS_SAGEMAKER_ROLE"]
bucket = f"sagemaker-{s3.meta.region_name}-{account}"
name = f"houses-{int(time.time())}"


def channel(city: str, which: str) -> dict[str, Any]:
    """A channel of CSV files."""
    return {
        "ChannelName": which,
        "ContentType": "text/csv",
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": f"s3://{bucket}/{name}/data/{city}/{which}/",
                "S3DataDistributionType": "FullyReplicated",
            }
        },
    }


def start_training(city: str, directory: Path, version: str = "") -> str:
    """Upload a city's houses and start a training job; return its name."""
    for file in houses.write(city, directory).rglob("*.csv"):
        s3.upload_file(str(file), bucket, f"{name}/data/{file.relative_to(directory)}")
    job = f"{city.replace('_', '-')}-{name}{version}"
    sagemaker.create_training_job(
        TrainingJobName=job,
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        RoleArn=role,
        HyperParameters={"objective": "reg:squarederror", "num_round": "25", "max_depth": "5"},
        InputDataConfig=[channel(city, "train"), channel(city, "validation")],
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/{name}/artifacts/"},
        ResourceConfig={
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 10,
        },
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )
    return job


def publish(job: str, archive: str) -> None:
    """Copy a job's artifact below the prefix that the endpoint serves."""
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName=job, WaiterConfig={"Delay": 1, "MaxAttempts": 300}
    )
    done = sagemaker.describe_training_job(TrainingJobName=job)
    print(f"{job}: {done['TrainingJobStatus']}, {done['FinalMetricDataList']}")
    source = done["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://")
    s3.copy_object(Bucket=bucket, Key=f"{name}/models/{archive}", CopySource=source)


def predict(archive: str) -> str:
    """The price of `HOUSE` by one of the models."""
    answer = runtime.invoke_endpoint(
        EndpointName=name,
        TargetModel=archive,
        ContentType="text/csv",
        Accept="text/csv",
        Body=HOUSE,
    )
    return answer["Body"].read().decode().strip()


with tempfile.TemporaryDirectory() as scratch:
    jobs = {city: start_training(city, Path(scratch)) for city in CITIES}
    for city, job in jobs.items():
        publish(job, f"{city}.tar.gz")

sagemaker.create_model(
    ModelName=name,
    ExecutionRoleArn=role,
    PrimaryContainer={
        "Image": IMAGE,
        "Mode": "MultiModel",
        "ModelDataUrl": f"s3://{bucket}/{name}/models/",
    },
)
variant = {
    "VariantName": "AllTraffic",
    "ModelName": name,
    "InstanceType": "ml.m5.large",
    "InitialInstanceCount": 1,
    "InitialVariantWeight": 1,
}
sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
sagemaker.get_waiter("endpoint_in_service").wait(
    EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 300}
)
for city in CITIES:
    print(f"{city}: {predict(f'{city}.tar.gz')}")

# A new version of a model is a new object: the one that is loaded is not looked at again.
with tempfile.TemporaryDirectory() as scratch:
    publish(start_training("Chicago_IL", Path(scratch), version="-v2"), "Chicago_IL_v2.tar.gz")
print(f"Chicago_IL_v2: {predict('Chicago_IL_v2.tar.gz')}")
try:
    predict("Nowhere.tar.gz")
except runtime.exceptions.ClientError as error:
    print(f"Nowhere: {error.response['Error']['Code']}: {error.response['Error']['Message']}")

sagemaker.delete_endpoint(EndpointName=name)
sagemaker.get_waiter("endpoint_deleted").wait(
    EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
)
sagemaker.delete_endpoint_config(EndpointConfigName=name)
sagemaker.delete_model(ModelName=name)
print("done")
