"""Earlier versions made current again, in moto's S3."""

from __future__ import annotations

import boto3
import pytest

from mme_hosting.context import Context
from mme_hosting.errors import HostingError
from mme_hosting.models.aliases import resolve
from mme_hosting.models.rollback import look, roll_back
from support.hosted_models import BUCKET, alias_file, archive, key_of, run


@pytest.fixture
def history(context: Context, tmp_path) -> list[str]:
    """The keys of three versions of one model; the last is current."""
    found = []
    for number, verb in enumerate(("add", "update", "update"), 1):
        path = archive(tmp_path / f"{number}.tar.gz", str(number))
        run(context, verb, "a/b", path)
        found.append(key_of(path, "a/b", number))
    return found


def back(context: Context, to: str | None = None) -> tuple[str, str]:
    step = look(context, "a/b", to)
    roll_back(context, step)
    assert resolve(context, "a/b") == step.after
    return step.before, step.after


def test_each_run_goes_one_version_further_back(context: Context, history) -> None:
    assert back(context) == (history[2], history[1])
    assert back(context) == (history[1], history[0])
    with pytest.raises(HostingError, match=rf"nothing was current before {history[0]}"):
        back(context)


@pytest.mark.parametrize("by_key", [False, True])
def test_to_a_version_twice_changes_nothing(context: Context, history, by_key) -> None:
    to = history[0] if by_key else "1"
    assert back(context, to) == (history[2], history[0])
    before = alias_file()
    assert back(context, to) == (history[0], history[0])
    assert alias_file() == before


def test_forward_again(context: Context, history) -> None:
    back(context)
    assert back(context, "3") == (history[1], history[2])
    assert back(context) == (history[2], history[1])


def test_an_update_after_a_rollback_goes_back_to_what_was_current(
    context: Context, history, tmp_path
) -> None:
    back(context)
    path = archive(tmp_path / "4.tar.gz", "4")
    assert run(context, "update", "a/b", path).key == key_of(path, "a/b", 4)
    assert back(context) == (key_of(path, "a/b", 4), history[1])


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("7", "a/b has no version 7: there are 3, 2, 1"),
        ("x", "a/b has no version x: there are 3, 2, 1"),
        ("other/1-0123456789ab.tar.gz", "is no version of a/b: those are a/b/NUMBER-DIGEST"),
        ("a/b/9-0123456789ab.tar.gz", r"9-0123456789ab\.tar\.gz is gone, and a/b stays a/b/3-"),
    ],
)
def test_what_is_no_version(context: Context, history, to: str, said: str) -> None:
    before = alias_file()
    with pytest.raises(HostingError, match=said):
        back(context, to)
    assert alias_file() == before


def test_a_version_that_is_gone_is_not_made_current(context: Context, history) -> None:
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=f"models/{history[1]}")
    with pytest.raises(HostingError, match="is gone, and a/b stays"):
        back(context)
    assert back(context, "1") == (history[2], history[0])


def test_a_number_that_two_have_is_told_with_their_keys(context: Context, history) -> None:
    other = "a/b/2-0123456789ab.tar.gz"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"models/{other}", Body=b"")
    with pytest.raises(
        HostingError, match=r"more than one version 2: give --to .* or --to "
    ) as told:
        back(context, "2")
    assert other in str(told.value)
    assert history[1] in str(told.value)


def test_an_unknown_name(context: Context, history) -> None:
    with pytest.raises(HostingError, match=r"no model a/c .*did you mean a/b"):
        look(context, "a/c")
