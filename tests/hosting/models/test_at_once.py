"""Several who change models at once, and some that are killed, by the S3 of the local SageMaker.

That lets one of several conditional writes through, as S3 does.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mme_hosting.context import Context
from mme_hosting.errors import HostingError
from mme_hosting.models.aliases import change, read, resolve
from mme_hosting.models.publish import publish
from mme_hosting.models.remove import look as look_to_remove
from mme_hosting.models.remove import remove
from mme_hosting.models.rollback import look, roll_back
from mme_hosting.models.table import Alias, now
from support.aws import REGION
from support.hosted_models import PREFIX, alias_file, archive, key_of, keys, make, run
from support.local_up import MME, services

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1",
    "MME_DEPLOY_NAME": "houses",
    "MME_DEPLOY_MODELS": PREFIX,
}

KILLED_WHILE = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from mme_hosting.models import publish, remove
from support.hosted_models import make

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

paths = {Path(each).name.removesuffix(".tar.gz"): Path(each) for each in sys.argv[3:]}
if sys.argv[2] == "uploading":
    publish.publish(make(), "add", paths, on_uploaded=die)
if sys.argv[2] == "uploaded":
    publish.change = die
    publish.publish(make(), "add", paths)
if sys.argv[2] == "removing":
    remove._delete = die
    context = make()
    remove.remove(context, remove.look(context, list(paths)))
"""


@pytest.fixture(scope="module", autouse=True)
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with (
        services(tmp_path_factory.mktemp("run")) as (server, _),
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": server.endpoint}.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def context() -> Iterator[Context]:
    context = make()
    yield context
    client = context.aws.client("s3")
    for item in client.list_objects_v2(Bucket=context.models.bucket).get("Contents", []):
        client.delete_object(Bucket=context.models.bucket, Key=item["Key"])


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [str(MME), "models", *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def killed_while(moment: str, *archives: Path) -> None:
    tests = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", KILLED_WHILE, tests, moment, *map(str, archives)]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL


@pytest.mark.slow
def test_all_that_processes_add_at_once_is_there(context: Context, tmp_path) -> None:
    folders = [f"company_{number}" for number in range(3)]
    paths = [archive(tmp_path / f"{number}.tar.gz", str(number)) for number in range(5)]
    processes = [start("add", "--under", folder, *paths) for folder in folders]
    said = [process.communicate(timeout=90) for process in processes]

    assert [process.returncode for process in processes] == [0] * 3, said
    names = {f"{folder}/{number}" for folder in folders for number in range(5)}
    assert set(alias_file()[1]["models"]) == names
    assert {resolve(context, name) for name in names} == set(keys())


def test_no_write_of_many_is_lost(context: Context) -> None:
    def name_it(number: int) -> None:
        alias = Alias(current=f"{number}.tar.gz", changed=now())
        assert change(context, read(context), {str(number): alias}) == {}

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(name_it, range(40)))
    assert set(read(context).table.models) == {str(number) for number in range(40)}


@pytest.mark.slow
def test_of_processes_that_update_one_name_one_wins_and_the_others_say_so(
    context: Context, tmp_path
) -> None:
    run(context, "add", "a", archive(tmp_path / "first.tar.gz", "first"))
    paths = [archive(tmp_path / f"{number}.tar.gz", str(number)) for number in range(2)]
    processes = [start("update", "--name", "a", "--json", path) for path in paths]
    said = [process.communicate(timeout=90) for process in processes]

    outcomes = [json.loads(out)[0] for out, _ in said]
    for process, outcome, (_, error) in zip(processes, outcomes, said, strict=True):
        # One that has begun after another was done follows it, and has lost nothing.
        assert (outcome["status"], process.returncode) in (("updated", 0), ("lost", 1)), error
        assert outcome["key"] in keys()
        if outcome["status"] == "lost":
            assert f"mme models rollback a --to {outcome['key']}" in error
    current = resolve(context, "a")
    assert current in [each["key"] for each in outcomes if each["status"] == "updated"]


def test_who_updates_a_name_meanwhile_stays_and_the_other_says_so(
    context: Context, tmp_path
) -> None:
    run(context, "add", "a", archive(tmp_path / "first.tar.gz", "first"))
    mine = archive(tmp_path / "mine.tar.gz", "mine")
    theirs = archive(tmp_path / "theirs.tar.gz", "theirs")
    outcome = run(
        context, "update", "a", mine, on_uploaded=lambda: run(make(), "update", "a", theirs)
    )

    assert outcome.status == "lost"
    assert outcome.key == key_of(mine, "a", 2)
    assert resolve(context, "a") == key_of(theirs, "a", 3)
    assert f"made {key_of(theirs, 'a', 3)} current meanwhile, and that stays" in outcome.error
    assert f"mme models rollback a --to {outcome.key}" in outcome.error
    roll_back(context, look(context, "a", outcome.key))
    assert resolve(context, "a") == outcome.key


def test_the_same_archive_from_two_is_no_conflict(context: Context, tmp_path) -> None:
    path = archive(tmp_path / "a.tar.gz")
    outcome = run(context, "add", "a", path, on_uploaded=lambda: run(make(), "add", "a", path))
    assert outcome.status == "added"
    assert keys() == [outcome.key]


def test_a_name_that_is_removed_while_it_is_updated_stays_removed(
    context: Context, tmp_path
) -> None:
    run(context, "add", "a", archive(tmp_path / "first.tar.gz", "first"))
    new = archive(tmp_path / "new.tar.gz", "new")

    def remove_it() -> None:
        other = make()
        remove(other, look_to_remove(other, ["a"]))

    outcome = run(context, "update", "a", new, on_uploaded=remove_it)
    assert outcome.status == "lost"
    assert f"removed it meanwhile, and it stays so: mme models add --name a {new}" in outcome.error
    assert keys() == []
    # Also where there was only an archive that no name stood for, which both have found.
    again = run(context, "add", "a", new, on_uploaded=remove_it)
    assert (again.status, keys()) == ("lost", [])
    assert run(context, "add", "a", new).status == "added"


def test_what_is_updated_while_it_is_removed_stays(context: Context, tmp_path) -> None:
    run(context, "add", "a", archive(tmp_path / "first.tar.gz", "first"))
    plan = look_to_remove(context, ["a"])
    new = run(context, "update", "a", archive(tmp_path / "new.tar.gz", "new"))
    lost = remove(context, plan)
    assert f"made {new.key} current meanwhile, and that stays" in lost["a"]
    assert len(keys()) == 2
    assert resolve(context, "a") == new.key


def test_two_remove_the_same(context: Context, tmp_path) -> None:
    run(context, "add", "a", archive(tmp_path / "a.tar.gz"))
    plans = [look_to_remove(context, ["a"]) for _ in range(2)]
    assert [remove(context, plan) for plan in plans] == [{}, {}]
    assert keys() == []


def test_a_rollback_loses_to_who_was_sooner(context: Context, tmp_path) -> None:
    run(context, "add", "a", archive(tmp_path / "1.tar.gz", "1"))
    run(context, "update", "a", archive(tmp_path / "2.tar.gz", "2"))
    step = look(context, "a")
    theirs = run(context, "update", "a", archive(tmp_path / "3.tar.gz", "3"))
    with pytest.raises(HostingError, match=f"somebody else made {theirs.key} current meanwhile"):
        roll_back(context, step)
    assert resolve(context, "a") == theirs.key


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["uploading", "uploaded"])
def test_one_that_is_killed_before_the_names_are_written(
    context: Context, tmp_path, moment: str
) -> None:
    found = {f"m{n}": archive(tmp_path / f"m{n}.tar.gz", str(n)) for n in range(12)}
    killed_while(moment, *found.values())
    assert 0 < len(keys()) <= 12
    assert read(context).table.models == {}

    outcomes = publish(context, "add", found)
    assert {each.status for each in outcomes} == {"added"}
    assert sorted(keys()) == sorted(key_of(path, name, 1) for name, path in found.items())
    assert {resolve(context, name) for name in found} == set(keys())


@pytest.mark.slow
def test_one_that_is_killed_before_the_archives_are_deleted(context: Context, tmp_path) -> None:
    found = {f"m{n}": archive(tmp_path / f"m{n}.tar.gz", str(n)) for n in range(3)}
    publish(context, "add", found)
    killed_while("removing", *found.values())
    assert len(keys()) == 3
    assert read(context).table.models == {}

    process = start("rm", "--yes", *found)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "m0: removed\nm1: removed\nm2: removed\n"), error
    assert keys() == []
