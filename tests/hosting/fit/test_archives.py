from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mme_hosting.aws import Aws
from mme_hosting.errors import HostingError
from mme_hosting.fit.archives import Packed, in_directory, in_s3, of_endpoint, sample
from mme_training.s3 import parse
from support import hosted_models
from support.aws import aws
from support.hosted_models import archive, key_of, make


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="fit")
        for key in ("many/a.tar.gz", "many/b/c.tar.gz", "many/note.txt", "manyelse.tar.gz"):
            s3.put_object(Bucket="fit", Key=key, Body=key.encode())
        yield "fit"


def test_those_below_a_directory_are_found(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.tar.gz").write_bytes(b"123")
    (tmp_path / "a.tar.gz").write_bytes(b"1")
    (tmp_path / "note.txt").write_text("")
    found = in_directory(tmp_path)
    assert found.all == (Packed("a.tar.gz", 1), Packed("b/c.tar.gz", 3))
    assert found.fetch(found.all[1], tmp_path / "no") == tmp_path / "b" / "c.tar.gz"


@pytest.mark.parametrize("prefix", ["s3://fit/many/", "s3://fit/many"])
def test_those_below_a_prefix_are_found(bucket: str, tmp_path: Path, prefix: str) -> None:
    found = in_s3(Aws(), parse(prefix))
    assert [each.name for each in found.all] == ["a.tar.gz", "b/c.tar.gz"]
    assert found.fetch(found.all[1], tmp_path).read_bytes() == b"many/b/c.tar.gz"
    assert found.all[1].size == len("many/b/c.tar.gz")


def test_those_of_an_endpoint_are_the_current_ones_and_those_without_a_name(
    bucket: str, tmp_path: Path
) -> None:
    context = make()
    paths = [archive(tmp_path / f"{each}.tar.gz", each) for each in ("one", "two")]
    first, second = (key_of(path, "a", number) for number, path in enumerate(paths, 1))
    hosted_models.run(context, "add", "a", paths[0])
    hosted_models.run(context, "update", "a", paths[1])
    hosted_models.run(context, "add", "gone", paths[0])
    gone = context.models.below(key_of(paths[0], "gone", 1))
    s3 = boto3.client("s3")
    s3.delete_object(Bucket=gone.bucket, Key=gone.key)
    s3.put_object(Bucket=gone.bucket, Key=context.models.below("b.tar.gz").key, Body=b"12")
    found = of_endpoint(context)
    size = paths[1].stat().st_size
    assert found.all == (
        Packed(second, size, ("a", second, first)),
        Packed("b.tar.gz", 2, ("b.tar.gz", "b.tar.gz")),
    )
    assert found.fetch(found.all[0], tmp_path).read_bytes() == paths[1].read_bytes()


def test_none_is_told(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(HostingError, match=r"no archives \(.tar.gz\) at s3://fit/none/"):
        in_s3(Aws(), parse("s3://fit/none"))
    with pytest.raises(HostingError, match="The specified bucket does not exist"):
        in_s3(Aws(), parse("s3://absent/none"))
    with pytest.raises(HostingError, match=r"no archives \(.tar.gz\) at"):
        in_directory(tmp_path)
    with pytest.raises(HostingError, match="is no directory"):
        in_directory(tmp_path / "absent")


@given(st.lists(st.integers(0, 10**9), max_size=200), st.integers(1, 60), st.integers(0, 5))
def test_a_sample_has_one_of_each_part_by_size(sizes, count, seed) -> None:
    every = [Packed(f"{n}.tar.gz", size) for n, size in enumerate(sizes)]
    chosen = sample(every, count, seed)
    assert chosen == sample(every[::-1], count, seed)
    assert len(chosen) == len(set(chosen)) == min(count, len(every))
    ordered = sorted(sizes)
    for number, each in enumerate(chosen):
        low = len(sizes) * number // len(chosen)
        high = len(sizes) * (number + 1) // len(chosen)
        assert ordered[low] <= each.size <= ordered[high - 1]
