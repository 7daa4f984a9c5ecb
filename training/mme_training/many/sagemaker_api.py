"""The calls to SageMaker and S3: repeated while that may help, and explained when they fail."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import boto3
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mme_training.errors import UserError
from mme_training.many.sagemaker_errors import code, configuration, explain, is_transient
from mme_training.many.sagemaker_options import bucket_and_key

ATTEMPTS: Final = 8
"""How often a call is made that is throttled or not answered, besides botocore's own attempts."""
LONGEST_PAUSE: Final = 60.0
"""Seconds."""

_HASH: Final = "rows-sha256"
_JOB: Final = "training-job"
_MISSING: Final = ("404", "NoSuchKey", "NotFound")


class JobExistsError(Exception):
    """There is a job of that name already."""


class LostError(UserError):
    """What a job has made was deleted since."""


class QuotaError(Exception):
    """No job may be started now; `error` is SageMaker's answer."""

    def __init__(self, error: ClientError) -> None:
        super().__init__(str(error))
        self.error = error


class Aws:
    """SageMaker and S3 of one region; the environment or AWS's configuration has the credentials.

    `pause` sleeps for so many seconds.

    Raises:
        UserError: no region, or a profile that does not exist; from every method: AWS refuses, and
            what to do about it.
        AlgorithmError: from every method: AWS does not answer, or throttles for minutes.
    """

    def __init__(
        self, region: str | None = None, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._pause = pause
        # Not adaptive: that would slow down all calls once one kind of them is throttled.
        config = Config(retries={"mode": "standard"})
        try:
            session = boto3.session.Session(region_name=region)
            self._sagemaker = session.client("sagemaker", config=config)
            self._s3 = session.client("s3", config=config)
        except (BotoCoreError, ValueError) as error:
            raise configuration(error) or UserError(f"AWS cannot be used: {error}") from error

    def create_job(self, request: dict[str, Any]) -> None:
        """CreateTrainingJob.

        Raises:
            JobExistsError: also if an attempt got through whose answer was lost.
            QuotaError: too many jobs or instances are running.
        """
        name = request["TrainingJobName"]
        try:
            self._call(self._sagemaker.create_training_job, f"the job {name}", **request)
        except ClientError as error:
            if code(error) == "ResourceInUse":
                raise JobExistsError(name) from error
            if code(error) == "ResourceLimitExceeded":
                raise QuotaError(error) from error
            raise explain(error, "CreateTrainingJob", f"the job {name}") from error

    def describe_job(self, name: str) -> dict[str, Any] | None:
        """DescribeTrainingJob; None if there is no such job."""
        resource = f"the job {name}"
        try:
            answer = self._call(
                self._sagemaker.describe_training_job, resource, TrainingJobName=name
            )
        except ClientError as error:
            if code(error) == "ResourceNotFound" or "not found" in str(error).lower():
                return None
            raise explain(error, "DescribeTrainingJob", resource) from error
        return dict(answer)

    def list_jobs(self, prefix: str, status: str | None = None) -> Iterator[dict[str, Any]]:
        """ListTrainingJobs, by the hundred: the summaries of those whose names begin so."""
        arguments: dict[str, Any] = {"NameContains": prefix, "MaxResults": 100}
        if status:
            arguments["StatusEquals"] = status
        resource = f"jobs named {prefix}…"
        while True:
            try:
                page = self._call(self._sagemaker.list_training_jobs, resource, **arguments)
            except ClientError as error:
                raise explain(error, "ListTrainingJobs", resource) from error
            for summary in page["TrainingJobSummaries"]:
                if summary["TrainingJobName"].startswith(prefix):
                    yield summary
            if not page.get("NextToken"):
                return
            arguments["NextToken"] = page["NextToken"]

    def upload(self, frame: pd.DataFrame, uri: str, kms_key: str | None = None) -> bool:
        """PutObject of `frame` as Parquet; False if it was there with the same bytes already."""
        body = to_parquet(frame)
        digest = hashlib.sha256(body).hexdigest()
        there = self._head(uri)
        if there and there["ContentLength"] == len(body) and there["Metadata"].get(_HASH) == digest:
            return False
        bucket, key = bucket_and_key(uri)
        try:
            self._call(
                self._s3.put_object,
                uri,
                Bucket=bucket,
                Key=key,
                Body=body,
                Metadata={_HASH: digest},
                **_encryption(kms_key),
            )
        except ClientError as error:
            raise explain(error, "PutObject", uri) from error
        return True

    def size(self, uri: str) -> int:
        """HeadObject: bytes of an object; 0 if it cannot be read."""
        there = self._head(uri)
        return int(there["ContentLength"]) if there else 0

    def copy(self, source: str, target: str, job: str, kms_key: str | None = None) -> bool:
        """CopyObject, within S3; False if `target` is there and not from the same `job`.

        Nothing is ever overwritten: S3 itself refuses, should another be there first.
        """
        if there := self._head(target):
            return _is_of(there, job)
        from_bucket, from_key = bucket_and_key(source)
        bucket, key = bucket_and_key(target)
        try:
            self._call(
                self._s3.copy_object,
                target,
                CopySource={"Bucket": from_bucket, "Key": from_key},
                Bucket=bucket,
                Key=key,
                Metadata={_JOB: job},
                MetadataDirective="REPLACE",
                IfNoneMatch="*",
                **_encryption(kms_key),
            )
        except ClientError as error:
            if code(error) in ("PreconditionFailed", "ConditionalRequestConflict"):
                return _is_of(self._head(target), job)  # An attempt whose answer was lost?
            if code(error) == "NoSuchKey":
                raise LostError(f"{source} is not there any more") from None
            raise explain(error, "CopyObject", f"{source} to {target}") from error
        return True

    def _head(self, uri: str) -> dict[str, Any] | None:
        bucket, key = bucket_and_key(uri)
        try:
            return dict(self._call(self._s3.head_object, uri, Bucket=bucket, Key=key))
        except ClientError as error:
            # Without s3:ListBucket, S3 says 403 of an object that does not exist.
            if code(error) in (*_MISSING, "403", "AccessDenied"):
                return None
            raise explain(error, "HeadObject", uri) from error

    def _call(self, call: Callable[..., Any], resource: str, **arguments: Any) -> Any:
        """Make a call, again and again while its failure is one that passes.

        Botocore has then retried already, for seconds; the pauses here go up to a minute, and are
        random, so that several runs do not return at the same time.
        """
        for attempt in range(ATTEMPTS):
            try:
                return call(**arguments)
            except ClientError as error:
                if not is_transient(error):
                    raise
                last: Exception = error
            except BotoCoreError as error:
                if not is_transient(error):
                    raise explain(error, _operation(call), resource) from error
                last = error
            if attempt + 1 < ATTEMPTS:
                self._pause(random.uniform(0, min(LONGEST_PAUSE, 2.0 ** (attempt + 1))))  # noqa: S311
        raise explain(last, _operation(call), resource) from last


def to_parquet(frame: pd.DataFrame) -> bytes:
    """The rows and names of the columns, and nothing else: the same table gives the same bytes."""
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def _is_of(head: dict[str, Any] | None, job: str) -> bool:
    return bool(head and head["Metadata"].get(_JOB) == job)


def _encryption(kms_key: str | None) -> dict[str, str]:
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}


def _operation(call: Callable[..., Any]) -> str:
    return "".join(word.capitalize() for word in call.__name__.split("_"))
