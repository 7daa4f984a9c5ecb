"""Models added and updated in moto's S3."""

from __future__ import annotations

import boto3
import pytest

from mme_hosting.context import Context
from mme_hosting.errors import RefusedError
from mme_hosting.models.aliases import FILE, resolve
from mme_hosting.models.publish import publish
from mme_training.errors import UserError
from support.archives import tar
from support.hosted_models import BUCKET, alias_file, archive, key_of, keys, make, run


def test_many_are_added_by_one_write_and_again_none(context: Context, tmp_path) -> None:
    found = {f"city-{n}": archive(tmp_path / f"{n}.tar.gz", str(n)) for n in range(20)}
    seen = []
    first = publish(
        context,
        "add",
        found,
        on_inspected=lambda: seen.append("inspected"),
        on_uploaded=lambda: seen.append("uploaded"),
    )
    tag, content = alias_file()
    again = publish(context, "add", found)

    assert [each.name for each in first] == list(found)
    assert {each.status for each in first} == {"added"}
    assert {each.status for each in again} == {"present"}
    assert [each.key for each in first] == [key_of(found[name], name, 1) for name in found]
    assert sorted(keys()) == sorted(each.key for each in first)
    assert len({each["changed"] for each in content["models"].values()}) == 1
    assert alias_file()[0] == tag
    assert sorted(seen) == ["inspected"] * 20 + ["uploaded"] * 20


def test_an_update_is_a_new_version_and_the_old_one_stays(context: Context, tmp_path) -> None:
    old, new = archive(tmp_path / "1.tar.gz", "old"), archive(tmp_path / "2.tar.gz", "new")
    run(context, "add", "a/houston", old)
    first, second = (run(context, "update", "a/houston", new) for _ in range(2))

    assert (first.status, second.status) == ("updated", "present")
    assert keys() == [key_of(old, "a/houston", 1), key_of(new, "a/houston", 2)]
    assert resolve(context, "a/houston") == key_of(new, "a/houston", 2)
    assert alias_file()[1]["models"]["a/houston"]["previous"] == [key_of(old, "a/houston", 1)]


def test_content_of_an_older_version_makes_that_current(context: Context, tmp_path) -> None:
    old, new = archive(tmp_path / "1.tar.gz", "old"), archive(tmp_path / "2.tar.gz", "new")
    run(context, "add", "a", old)
    run(context, "update", "a", new)
    outcome = run(context, "update", "a", old)

    assert (outcome.status, outcome.key) == ("updated", key_of(old, "a", 1))
    assert len(keys()) == 2
    assert alias_file()[1]["models"]["a"]["previous"] == [key_of(new, "a", 2)]


def test_a_name_that_is_there_with_other_content_is_not_added(context: Context, tmp_path) -> None:
    run(context, "add", "a", archive(tmp_path / "1.tar.gz"))
    before = alias_file()
    outcome = run(context, "add", "a", archive(tmp_path / "2.tar.gz", "two"))

    assert outcome.status == "refused"
    assert f"mme models update --name a {tmp_path / '2.tar.gz'}" in (outcome.error or "")
    assert (len(keys()), alias_file()) == (1, before)


def test_a_name_that_is_not_there_is_not_updated(context: Context, tmp_path) -> None:
    run(context, "add", "houston", archive(tmp_path / "1.tar.gz"))
    outcome = run(context, "update", "huston", archive(tmp_path / "1.tar.gz"))

    assert outcome.status == "refused"
    assert "no model huston" in (outcome.error or "")
    assert "did you mean houston? (a new model is for mme models add)" in (outcome.error or "")


def test_what_a_server_would_refuse_is_not_uploaded_and_the_others_go_on(
    context: Context, tmp_path
) -> None:
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(b"no archive")
    empty = tmp_path / "empty.tar.gz"
    tar(empty, {"readme.txt": b"no model"})
    found = {
        "broken": broken,
        "good": archive(tmp_path / "good.tar.gz"),
        "empty": empty,
        "missing": tmp_path / "missing.tar.gz",
    }
    outcomes = publish(context, "add", found)

    assert [each.status for each in outcomes] == ["refused", "added", "refused", "refused"]
    assert "broken.tar.gz" in (outcomes[0].error or "")
    assert "no server would load it" in (outcomes[2].error or "")
    assert "missing.tar.gz cannot be read" in (outcomes[3].error or "")
    assert keys() == [key_of(found["good"], "good", 1)]
    assert set(alias_file()[1]["models"]) == {"good"}


def test_one_that_was_packed_and_uploaded_before_gets_its_name(context: Context, tmp_path) -> None:
    path = archive(tmp_path / "a.tar.gz")
    key = key_of(path, "a", 3)
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"models/{key}", Body=path.read_bytes())
    assert run(context, "add", "a", path).key == key
    assert keys() == [key]


def test_an_archive_that_is_gone_is_uploaded_again(context: Context, tmp_path) -> None:
    path = archive(tmp_path / "a.tar.gz")
    key = run(context, "add", "a", path).key
    before = alias_file()
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=f"models/{key}")

    assert run(context, "add", "a", path).status == "restored"
    assert (keys(), alias_file()) == ([key], before)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "../a", "a//b", "", "/a", "a/"])
def test_names_that_none_can_have(context: Context, tmp_path, name: str) -> None:
    with pytest.raises(UserError):
        run(context, "add", name, archive(tmp_path / "a.tar.gz"))
    assert keys() == []


def test_a_table_that_cannot_be_read_is_known_before_anything_is_done(
    context: Context, tmp_path
) -> None:
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"models/{FILE}", Body=b"{")
    with pytest.raises(RefusedError, match="no file of aliases"):
        run(context, "add", "a", archive(tmp_path / "a.tar.gz"))
    assert keys() == []


def test_folders_and_names_do_not_meet(context: Context, tmp_path) -> None:
    paths = {name: archive(tmp_path / f"{n}.tar.gz", name) for n, name in enumerate(("a", "a/b"))}
    publish(context, "add", paths)
    assert {name: resolve(context, name) for name in paths} == {
        name: key_of(path, name, 1) for name, path in paths.items()
    }


def test_archives_are_encrypted_with_the_key_of_the_endpoint(context: Context, tmp_path) -> None:
    key = run(make(kms_key="alias/m"), "add", "a", archive(tmp_path / "a.tar.gz")).key
    head = boto3.client("s3").head_object(Bucket=BUCKET, Key=f"models/{key}")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/m")
