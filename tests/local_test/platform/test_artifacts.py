from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from mme_local.aws.clients import Clients
from mme_local.errors import ApiError
from mme_local.platform.artifacts import Artifacts, identify, split_url
from support.local_platform import BUCKET, REGION, Platform, Store, archive_of, record

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(around: str) -> Store:
    return Store(Clients(around, REGION))


@pytest.fixture
def make(around: str, store: Store, tmp_path: Path) -> Callable[..., Artifacts]:
    def made(disk_bytes: int = 1 << 30) -> Artifacts:
        url = f"s3://{BUCKET}/many/"
        return Artifacts(Clients(around, REGION), url, tmp_path, disk_bytes, 1 << 20)

    return made


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket/a/b.tar.gz", ("bucket", "a/b.tar.gz")),
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
        ("s3://bucket/a?b#c/", ("bucket", "a?b#c/")),
    ],
)
def test_urls(url: str, expected: tuple[str, str]) -> None:
    assert split_url(url) == expected


async def test_an_archive_is_unpacked_where_sagemaker_puts_it(make, store, tmp_path) -> None:
    store.put("city/a.tar.gz")
    artifact, downloaded = await make().fetch("city/a.tar.gz")
    assert downloaded
    assert artifact.directory == tmp_path / "models" / identify("city/a.tar.gz") / "model"
    assert (artifact.directory / "model.txt").read_text() == "city/a.tar.gz"
    assert sorted(path.name for path in artifact.directory.parent.iterdir()) == ["model"]


async def test_a_new_object_is_not_picked_up_while_the_old_one_is_there(make, store) -> None:
    store.put("a.tar.gz", archive_of({"model.txt": b"old"}))
    artifacts = make()
    await artifacts.fetch("a.tar.gz")
    store.put("a.tar.gz", archive_of({"model.txt": b"new"}))
    artifact, downloaded = await artifacts.fetch("a.tar.gz")
    assert not downloaded
    assert (artifact.directory / "model.txt").read_text() == "old"
    await artifacts.delete("a.tar.gz")
    artifact, downloaded = await artifacts.fetch("a.tar.gz")
    assert downloaded
    assert (artifact.directory / "model.txt").read_text() == "new"


async def test_an_archive_may_be_asked_for_again_while_it_is_deleted(make, store) -> None:
    files = {f"{number}.txt": b"x" for number in range(2000)}
    store.put("a.tar.gz", archive_of({"model.txt": b"whole", **files}))
    artifacts = make()
    for _ in range(5):
        await artifacts.fetch("a.tar.gz")
        _, (artifact, _) = await asyncio.gather(
            artifacts.delete("a.tar.gz"), artifacts.fetch("a.tar.gz")
        )
        assert (artifact.directory / "model.txt").read_text() == "whole"
        assert len(list(artifact.directory.iterdir())) == 2001


async def test_a_full_disk_loses_what_was_not_used_for_longest(make, store) -> None:
    artifacts = make(disk_bytes=250)
    for name in "abc":
        store.put(f"{name}.tar.gz", archive_of({"model.txt": bytes(100)}))
        await artifacts.fetch(f"{name}.tar.gz")
        if name == "b":
            await artifacts.fetch("a.tar.gz")
    assert artifacts.bytes == 300
    assert await artifacts.make_room(lambda _: False) == ["b.tar.gz"]
    assert sorted(artifacts.on_disk) == ["a.tar.gz", "c.tar.gz"]


async def test_archives_of_loaded_models_stay_on_a_full_disk(make, store) -> None:
    artifacts = make(disk_bytes=150)
    for name in "ab":
        store.put(f"{name}.tar.gz", archive_of({"model.txt": bytes(100)}))
        await artifacts.fetch(f"{name}.tar.gz")
    assert await artifacts.make_room(lambda target: target == "a.tar.gz") == ["b.tar.gz"]
    assert await artifacts.make_room(lambda target: target == "a.tar.gz") == []


async def test_two_who_want_an_archive_share_a_download(make, store) -> None:
    store.put("a.tar.gz")
    artifacts = make()
    first = asyncio.create_task(artifacts.fetch("a.tar.gz"))
    await asyncio.sleep(0)
    first.cancel()  # a load that has timed out
    artifact, _ = await artifacts.fetch("a.tar.gz")
    assert (artifact.directory / "model.txt").exists()


async def test_an_archive_that_is_too_large_leaves_nothing(make, store, tmp_path) -> None:
    store.put("a.tar.gz", archive_of({"model.txt": bytes(2 << 20)}))
    with pytest.raises(Exception, match=r"its files take more than 1,048,576 bytes"):
        await make().fetch("a.tar.gz")
    assert list((tmp_path / "models").iterdir()) == []


async def test_an_s3_that_does_not_answer_is_the_platforms_failure(tmp_path) -> None:
    nowhere = Clients("http://127.0.0.1:9", REGION)
    artifacts = Artifacts(nowhere, "s3://models/many/", tmp_path, 1 << 20, 1 << 20)
    with pytest.raises(ApiError, match=r"s3://models/many/a\.tar\.gz cannot be") as caught:
        await artifacts.fetch("a.tar.gz")
    assert (caught.value.code, caught.value.status) == ("InternalFailure", 500)
    assert list((tmp_path / "models").iterdir()) == []


async def test_unloaded_models_stay_on_disk(local: Platform, runtime) -> None:
    for name in "ab":
        local.store.put(f"{name}.tar.gz")
    await local.deploy(record())
    runtime.script.capacity = 1
    for name in "aba":
        await local.ask(f"{name}.tar.gz")
    shown = local.manager.snapshot()[0]["variants"][0]["instances"][0]
    assert shown["on_disk"] == ["a.tar.gz", "b.tar.gz"]
    assert [model["target_model"] for model in shown["loaded"]] == ["a.tar.gz"]
