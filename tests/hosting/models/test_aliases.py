"""The alias file in moto's S3."""

from __future__ import annotations

import boto3
import pytest

from mme_hosting.context import Context
from mme_hosting.errors import HostingError
from mme_hosting.models.aliases import FILE, change, read, resolve
from mme_hosting.models.table import Alias, now
from support.hosted_models import BUCKET, alias_file, make


def alias(key: str) -> Alias:
    return Alias(current=key, changed=now())


def write(content: bytes) -> None:
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"models/{FILE}", Body=content)


def test_a_name_is_resolved_to_its_current_key(context: Context) -> None:
    wanted = {"houston": alias("houston/2-0123456789ab.tar.gz"), "company_a/x": alias("k.tar.gz")}
    assert change(context, read(context), wanted) == {}
    assert resolve(context, "houston") == "houston/2-0123456789ab.tar.gz"
    assert resolve(context, "company_a/x") == "k.tar.gz"
    assert resolve(context, "any/key.tar.gz") == "any/key.tar.gz"
    _, content = alias_file()
    assert content["version"] == 1
    assert content["models"]["houston"]["current"] == "houston/2-0123456789ab.tar.gz"


def test_an_unknown_name_is_told_with_those_near_it(context: Context) -> None:
    with pytest.raises(HostingError, match=r"no model huston at s3://.*/models/: mme models ls"):
        resolve(context, "huston")
    change(context, read(context), {"houston": alias("k"), "austin": alias("k")})
    with pytest.raises(HostingError, match="did you mean houston or austin"):
        resolve(context, "huston")


def test_nothing_is_written_where_nothing_changes(context: Context) -> None:
    first = read(context)
    change(context, first, {"a": alias("k")})
    tag, _ = alias_file()
    again = read(context)
    change(context, again, {"a": alias("k")})
    assert alias_file()[0] == tag == again.tag


def test_others_that_write_meanwhile_are_merged_with(context: Context) -> None:
    for base in (read(context), read(context)):  # the second time there is a file
        name = f"theirs-{base.tag}"
        change(context, base, {name: alias("t"), "same": alias(f"t-{base.tag}")})
        lost = change(context, base, {f"ours-{base.tag}": alias("o"), "same": alias("o")})
        assert {key: state.current for key, state in lost.items()} == {"same": f"t-{base.tag}"}
        models = read(context).table.models
        assert (models[name].current, models[f"ours-{base.tag}"].current) == ("t", "o")
        assert models["same"].current == f"t-{base.tag}"


def test_a_file_that_was_deleted_meanwhile_is_made_again(context: Context) -> None:
    change(context, read(context), {"a": alias("k")})
    base = read(context)
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=f"models/{FILE}")
    assert change(context, base, {"b": alias("k")}) == {}
    assert set(read(context).table.models) == {"b"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no json", "its content: Invalid JSON"),
        (b'{"version": 2}', "version: Input should be 1"),
        (b'{"models": {"a": {"changed": "2026-01-01T00:00:00Z"}}}', r"models\.a\.current: Field"),
        (b'{"model": {}}', "model: Extra inputs"),
        (
            b'{"removed": {"a": {"changed": "2026-01-01T00:00:00"}}}',
            r"removed\.a\.changed: Input should have timezone info",
        ),
    ],
)
def test_a_file_of_somebody_else_is_left_alone(context: Context, content: bytes, said: str) -> None:
    write(content)
    with pytest.raises(HostingError, match=rf"aliases\.json is no file of aliases.*{said}"):
        resolve(context, "a")
    assert boto3.client("s3").get_object(Bucket=BUCKET, Key=f"models/{FILE}")["Body"].read() == (
        content
    )


def test_it_is_encrypted_with_the_key_of_the_endpoint(context: Context) -> None:
    context = make(kms_key="alias/models")
    change(context, read(context), {"a": alias("k")})
    head = boto3.client("s3").head_object(Bucket=BUCKET, Key=f"models/{FILE}")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/models")
