"""The whole life of an endpoint by `mme`, with a real engine and registry, under IAM's eyes.

The one who deploys, the containers and the caller may do what `mme iam` says, and nothing else.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from mme_training.archives.assemble import assemble
from support.archives import booster
from support.aws import ACCOUNT
from support.local_up import MME, Local, environment, up
from support.models import csv_of, make_rows
from support.registries import ECR_LOGIN, docker_registry

pytestmark = [pytest.mark.container, pytest.mark.slow]

ROLE = f"arn:aws:iam::{ACCOUNT}:role/houses"
COUNT = 50
SEEDS = 5  # different boosters; training fifty would take a while


class Person:
    """Somebody with an access key, who types `mme` in a directory."""

    def __init__(self, local: Local, directory: Path, key: dict[str, str], **more: str) -> None:
        self.directory = directory
        self._environment = environment(
            local.run,
            AWS_ACCESS_KEY_ID=key["AccessKeyId"],
            AWS_SECRET_ACCESS_KEY=key["SecretAccessKey"],
            MME_DEPLOY_ROLE=ROLE,
            **more,
        )
        self._secret = key["SecretAccessKey"]

    def mme(
        self, *arguments: str, status: int = 0, given: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a verb with --local; nobody's secret may be in what it says."""
        done = subprocess.run(
            [str(MME), *arguments, "--local"],
            cwd=self.directory,
            env=self._environment,
            input=given,
            capture_output=True,
            timeout=600,
            check=False,
        )
        said = (done.stdout + done.stderr).decode(errors="replace")
        assert self._secret not in said
        assert "Traceback" not in said
        assert done.returncode == status, said
        return done

    def json(self, *arguments: str, status: int = 0) -> Any:
        """What a verb prints for a program."""
        return json.loads(self.mme(*arguments, "--json", status=status).stdout)

    def predictions(self, model: str, rows: np.ndarray, **rest: Any) -> np.ndarray:
        """What a model answers."""
        arguments = ("invoke", model, "--file", "-", "--content-type", "text/csv")
        answer = self.mme(*arguments, given=csv_of(rows), **rest)
        predictions = json.loads(answer.stdout)["predictions"]
        return np.array([each["score"] for each in predictions], np.float32)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry"), ECR_LOGIN) as host:
        yield host


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, image: str) -> Iterator[Local]:
    directory = tmp_path_factory.mktemp("life")
    more = {"MME_LOCAL_RUNTIME": "docker", "MME_LOCAL_IMAGE": image}
    with up(directory, **more) as running:
        yield running


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Archives of fifty cities of two companies, by name."""
    directory = tmp_path_factory.mktemp("archives")
    return {
        f"company_{'ab'[number % 2]}/city{number:02}": archive_of(
            directory / f"city{number:02}.tar.gz", booster(number % SEEDS)
        )
        for number in range(COUNT)
    }


def archive_of(target: Path, model: xgb.Booster) -> Path:
    file = target.with_suffix(".ubj")
    model.save_model(file)
    assemble(file, target)
    return target


def expected(seed: int, rows: np.ndarray) -> np.ndarray:
    return booster(seed).inplace_predict(rows)


def user(local: Local, name: str, policy: str, as_managed: bool = False) -> dict[str, str]:
    """Make a user of one policy; the access key."""
    iam = local.client("iam")
    iam.create_user(UserName=name)
    if as_managed:  # the deployer's is longer than an inline one may be
        arn = iam.create_policy(PolicyName=name, PolicyDocument=policy)["Policy"]["Arn"]
        iam.attach_user_policy(UserName=name, PolicyArn=arn)
    else:
        iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
    return dict(iam.create_access_key(UserName=name)["AccessKey"])


def statuses(outcomes: list[dict[str, Any]]) -> set[str]:
    return {each["status"] for each in outcomes}


def test_an_endpoint_from_init_to_delete(local, registry, image, archives, tmp_path) -> None:
    root_key = {"AccessKeyId": "ROOT0000000000000000", "SecretAccessKey": "root-secret-000000"}
    root = Person(local, tmp_path, root_key)
    root.mme("init", "--name", "houses")

    # The policies are made for this endpoint, and from here on they are the law.
    policy = partial(root.mme, "iam")
    iam = local.client("iam")
    trust, execution = (policy(each).stdout.decode() for each in ("trust", "execution"))
    iam.create_role(RoleName="houses", AssumeRolePolicyDocument=trust)
    iam.put_role_policy(RoleName="houses", PolicyName="mme", PolicyDocument=execution)
    deployer = Person(
        local,
        tmp_path,
        user(local, "deployer", policy("deployer").stdout.decode(), as_managed=True),
        MME_ECR_REGISTRY=registry,
    )
    of_company_a = policy("caller", "--models", "company_a/*", "--aliases").stdout.decode()
    caller = Person(local, tmp_path, user(local, "caller", of_company_a))

    # Doctor knows what lacks, and push mends it.
    before = deployer.json("doctor", status=1)
    assert "mme push" in json.dumps([each for each in before if each["status"] == "failed"])
    pushed = deployer.json("push", "--image", image, "--allow-dirty")
    assert [each["status"] for each in pushed["images"]] == ["pushed"]
    again = deployer.json("push", "--image", image, "--allow-dirty")
    assert [each["status"] for each in again["images"]] == ["present"]
    assert not [each for each in deployer.json("doctor") if each["status"] == "failed"]

    # Deployed; a second time there is nothing to do.
    deployer.mme("deploy", "--dry-run")
    assert deployer.json("endpoints") == []
    deployer.mme("deploy")
    (endpoint,) = deployer.json("endpoints")
    assert (endpoint["name"], endpoint["status"]) == ("houses", "InService")
    assert deployer.json("deploy")["steps"] == []

    # Fifty models; a second time all are there.
    for company in "ab":
        files = [
            str(path) for name, path in archives.items() if name.startswith(f"company_{company}")
        ]
        add = ("models", "add", *files, "--under", f"company_{company}")
        assert statuses(deployer.json(*add)) == {"added"}
        assert statuses(deployer.json(*add)) == {"present"}
    assert len(deployer.json("models", "ls")["models"]) == COUNT

    rows = make_rows(20)
    for number, name in enumerate(archives):
        np.testing.assert_array_equal(
            deployer.predictions(name, rows), expected(number % SEEDS, rows)
        )

    # Two are updated, one of them rolled back.
    first, second = "company_a/city00", "company_b/city01"
    newer = archive_of(tmp_path / "newer.tar.gz", booster(40))
    for name in (first, second):
        outcomes = deployer.json("models", "update", str(newer), "--name", name)
        assert statuses(outcomes) == {"updated"}
        np.testing.assert_array_equal(deployer.predictions(name, rows), expected(40, rows))
    deployer.mme("models", "rollback", first)
    np.testing.assert_array_equal(deployer.predictions(first, rows), expected(0, rows))
    np.testing.assert_array_equal(deployer.predictions(second, rows), expected(40, rows))

    # A tenant reaches its own models and no others.
    np.testing.assert_array_equal(caller.predictions(first, rows), expected(0, rows))
    refused = caller.mme("invoke", second, "--data", "1,2,3,4,5,6", status=2)
    assert b"denied" in refused.stderr
    assert b"denied" in caller.mme("delete", "--yes", status=2).stderr

    for instances in (3, 1):
        deployer.mme("deploy", "--instances", str(instances))
        (endpoint,) = deployer.json("endpoints")
        assert endpoint["current"] == endpoint["desired"] == instances
    np.testing.assert_array_equal(deployer.predictions(second, rows), expected(40, rows))

    measured = json.dumps(deployer.json("metrics", "--since", "1h"))
    assert "Invocations" in measured
    assert deployer.mme("logs", "--since", "1h", "--lines", "20").stdout.strip()

    deployer.mme("delete", "--yes")
    assert deployer.json("endpoints") == []
    deployer.mme("delete", "--yes")
    sagemaker = local.client("sagemaker")
    assert sagemaker.list_models()["Models"] == []
    assert sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
    assert len(deployer.json("models", "ls")["models"]) == COUNT
