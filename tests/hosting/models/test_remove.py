"""Models removed from moto's S3."""

from __future__ import annotations

import boto3
import pytest

from mme_hosting.context import Context
from mme_hosting.errors import HostingError
from mme_hosting.models.aliases import change, read, resolve
from mme_hosting.models.listing import models
from mme_hosting.models.publish import publish
from mme_hosting.models.remove import look, remove
from mme_hosting.models.table import Removal, now
from support.hosted_models import BUCKET, alias_file, archive, key_of, keys, run


def test_all_versions_of_the_names_go_and_nothing_else(context: Context, tmp_path) -> None:
    one, two = archive(tmp_path / "1.tar.gz"), archive(tmp_path / "2.tar.gz", "two")
    publish(context, "add", dict.fromkeys(("a", "a/b", "ab", "c"), one))
    run(context, "update", "a", two)
    boto3.client("s3").put_object(Bucket=BUCKET, Key="models/a/other.tar.gz", Body=b"")

    plan = look(context, ["a", "c", "none"])
    assert {name: len(each) for name, each in plan.keys.items()} == {"a": 2, "c": 1}
    assert plan.absent == ("none",)
    assert remove(context, plan) == {}
    assert set(keys()) == {key_of(one, "a/b", 1), key_of(one, "ab", 1), "a/other.tar.gz"}
    assert set(alias_file()[1]["models"]) == {"a/b", "ab"}
    with pytest.raises(HostingError, match="no model a at"):
        resolve(context, "a")


def test_a_removed_name_can_be_added_again(context: Context, tmp_path) -> None:
    path = archive(tmp_path / "1.tar.gz")
    run(context, "add", "a", path)
    remove(context, look(context, ["a"]))
    assert look(context, ["a"]).absent == ("a",)
    outcome = run(context, "add", "a", path)
    assert (outcome.status, keys()) == ("added", [outcome.key])
    assert alias_file()[1]["removed"] == {}


def test_a_half_removed_name_is_finished_and_cannot_be_added(context: Context, tmp_path) -> None:
    path = archive(tmp_path / "1.tar.gz")
    key = run(context, "add", "a", path).key
    change(context, read(context), {"a": Removal(changed=now())})  # as one killed now leaves it

    outcome = run(context, "add", "a", path)
    assert outcome.status == "refused"
    assert "mme models rm a finishes that" in (outcome.error or "")
    plan = look(context, ["a"])
    assert plan.keys == {"a": [key]}
    assert remove(context, plan) == {}
    assert keys() == []
    assert run(context, "add", "a", path).status == "added"


def test_archives_without_a_name_of_theirs_go_too(context: Context) -> None:
    key = "a/3-0123456789ab.tar.gz"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"models/{key}", Body=b"")
    remove(context, look(context, ["a"]))
    assert keys() == []


def test_a_key_is_no_name(context: Context) -> None:
    with pytest.raises(HostingError, match=r"aws s3 rm s3://.*/models/a\.tar\.gz"):
        look(context, ["a.tar.gz"])


def test_more_than_a_page_is_listed_and_deleted(context: Context) -> None:
    client = boto3.client("s3")
    for number in range(1, 1003):
        key = f"models/a/{number}-0123456789ab.tar.gz"
        client.put_object(Bucket=BUCKET, Key=key, Body=b"")
    assert len(models(context)) == 1002
    remove(context, look(context, ["a"]))
    assert keys() == []
