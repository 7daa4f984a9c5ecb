"""What is listed of the archives in moto's S3."""

from __future__ import annotations

import boto3
import pytest

from mme_hosting.context import Context
from mme_hosting.models.listing import models, versions
from mme_hosting.models.publish import publish
from support.hosted_models import BUCKET, archive, key_of, run


def put(*keys: str) -> None:
    for key in keys:
        boto3.client("s3").put_object(Bucket=BUCKET, Key=f"models/{key}", Body=b"12")


def test_names_and_what_others_have_put_there(context: Context, tmp_path) -> None:
    one, two = archive(tmp_path / "1.tar.gz"), archive(tmp_path / "2.tar.gz", "two")
    publish(context, "add", {"houston": one, "company_a/houston": one})
    run(context, "update", "houston", two)
    put("jobs/job-1/output/model.tar.gz", "plain.tar.gz", "other/2-0123456789ab.tar.gz", "x.txt")

    found = {model.name: model for model in models(context)}
    assert list(found) == [
        "company_a/houston",
        "houston",
        "jobs/job-1/output/model.tar.gz",
        "other/2-0123456789ab.tar.gz",
        "plain.tar.gz",
    ]
    houston = found["houston"]
    assert [each.key for each in houston.versions] == [
        key_of(two, "houston", 2),
        key_of(one, "houston", 1),
    ]
    assert houston.archive == houston.versions[0]
    assert houston.archive.size == two.stat().st_size
    assert found["plain.tar.gz"].key == "plain.tar.gz"
    assert found["plain.tar.gz"].archive.size == 2


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["a", "company_a/b", "company_b/b", "k.tar.gz"]),
        ("company_a/*", ["company_a/b"]),
        ("*/b", ["company_a/b", "company_b/b"]),
        ("?", ["a"]),
        ("A", []),
    ],
)
def test_patterns(context: Context, tmp_path, pattern: str, names: list[str]) -> None:
    path = archive(tmp_path / "a.tar.gz")
    publish(context, "add", dict.fromkeys(("a", "company_a/b", "company_b/b"), path))
    put("k.tar.gz")
    assert [model.name for model in models(context, pattern)] == names


def test_an_archive_that_is_gone_is_told(context: Context, tmp_path) -> None:
    key = run(context, "add", "a", archive(tmp_path / "a.tar.gz")).key
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=f"models/{key}")
    (model,) = models(context)
    assert (model.key, model.archive, model.versions) == (key, None, ())


def test_versions_are_of_the_name_alone_and_sorted_by_number(context: Context) -> None:
    digest = "0123456789ab"
    put(*(f"a/{number}-{digest}.tar.gz" for number in (9, 10, 2)))
    put(f"a/b/1-{digest}.tar.gz", f"ab/1-{digest}.tar.gz", "a_v7.tar.gz", "a/readme.tar.gz")
    found = versions(context, ["a", "none"])
    assert [each.version.number for each in found["a"]] == [10, 9, 2]
    assert found["none"] == []
