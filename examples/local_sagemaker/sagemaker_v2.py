"""House prices by version 2 of the ``sagemaker`` SDK, as for AWS: nothing in it is local.

mme local exec -- python examples/local_sagemaker/sagemaker_v2.py
"""

import os
import tempfile
import time
from pathlib import Path

import boto3
import houses
import sagemaker
from sagemaker.deserializers import JSONDeserializer
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.multidatamodel import MultiDataModel
from sagemaker.serializers import CSVSerializer

CITIES = ["Chicago_IL", "Houston_TX", "NewYork_NY", "LosAngeles_CA"]
HOUSE = [1995, 3000, 3, 2.0, 1.0, 2]

session = sagemaker.Session()
role = os.environ["AWS_SAGEMAKER_ROLE"]
bucket = session.default_bucket()
image = sagemaker.image_uris.retrieve("xgboost", session.boto_region_name, version="1.7-1")
name = sagemaker.utils.name_from_base("houses")
print(f"bucket {bucket}, image {image}")


def start_training(city: str, directory: Path) -> Estimator:
    """Upload a city's houses and start a training job; return without waiting for it."""
    data = session.upload_data(
        str(houses.write(city, directory)), bucket=bucket, key_prefix=f"{name}/data/{city}"
    )
    estimator = Estimator(
        image_uri=image,
        role=role,
        instance_count=1,
        instance_type="ml.m5.large",
        output_path=f"s3://{bucket}/{name}/artifacts/{city}",
        base_job_name=city.replace("_", "-"),
        sagemaker_session=session,
    )
    estimator.set_hyperparameters(
        objective="reg:squarederror", max_depth=5, eta=0.2, gamma=4, min_child_weight=6,
        subsample=0.8, num_round=25, early_stopping_rounds=5,
    )  # fmt: skip
    channels = {
        channel: TrainingInput(f"{data}/{channel}", content_type="csv")
        for channel in ("train", "validation")
    }
    estimator.fit(channels, wait=False)
    return estimator


with tempfile.TemporaryDirectory() as scratch:
    estimators = {city: start_training(city, Path(scratch)) for city in CITIES}
    client = boto3.client("sagemaker")
    for city, estimator in estimators.items():
        estimator.latest_training_job.wait(logs="None")
        job = client.describe_training_job(TrainingJobName=estimator.latest_training_job.name)
        metrics = {each["MetricName"]: each["Value"] for each in job["FinalMetricDataList"]}
        print(f"\n{city}: {job['TrainingJobStatus']}, {job['ModelArtifacts']['S3ModelArtifacts']}")
        print(f"{city}: {metrics}")

prefix = f"s3://{bucket}/{name}/models/"
model = MultiDataModel(
    name=name,
    model_data_prefix=prefix,
    model=estimators["Chicago_IL"].create_model(role=role, image_uri=image),
    sagemaker_session=session,
)
predictor = model.deploy(
    initial_instance_count=1,
    instance_type="ml.m5.large",
    endpoint_name=name,
    serializer=CSVSerializer(),
    deserializer=JSONDeserializer(),
)
for city, estimator in estimators.items():
    model.add_model(model_data_source=estimator.model_data, model_data_path=f"{city}.tar.gz")
print("\nmodels:", sorted(model.list_models()))

for city in CITIES:
    for attempt in ("first", "second"):
        start = time.perf_counter()
        answer = predictor.predict(HOUSE, target_model=f"{city}.tar.gz")
        elapsed = 1000 * (time.perf_counter() - start)
        print(f"{city}, {attempt} request: {answer} in {elapsed:.1f} ms")

# A new version of a model is a new object: the one that is loaded is not looked at again.
with tempfile.TemporaryDirectory() as scratch:
    better = start_training("Chicago_IL", Path(scratch))
    better.latest_training_job.wait(logs="All")
model.add_model(model_data_source=better.model_data, model_data_path="Chicago_IL_v2.tar.gz")
print("v2:", predictor.predict(HOUSE, target_model="Chicago_IL_v2.tar.gz"))
session.boto_session.client("s3").delete_object(
    Bucket=bucket, Key=f"{name}/models/Chicago_IL.tar.gz"
)
print("models:", sorted(model.list_models()))

predictor.delete_endpoint()
model.delete_model()
print("done")
