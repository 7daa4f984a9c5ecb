from __future__ import annotations

import boto3
import pytest

from mme_hosting.doctor import account
from mme_hosting.doctor.findings import SkipError
from mme_hosting.doctor.instances import instance_type
from mme_hosting.doctor.setup import Setup
from mme_hosting.errors import HostingError
from support.aws import ACCOUNT, REGION
from support.doctor import one, setup


def test_settings_that_hold():
    assert one(account.settings, setup()) == ("ok", "the endpoint houses on 1 ml.m5.large | ")
    scaled = setup(autoscaling={"min": 2, "max": 3}, instance_type="ml.c5.large")
    assert one(account.settings, scaled)[1].startswith("the endpoint houses on 2 to 3 ml.c5.large")


def test_settings_that_do_not():
    broken = Setup(HostingError("mme.yaml: name is not given"))
    assert one(account.settings, broken) == ("failed", "mme.yaml: name is not given | mme init")
    with pytest.raises(SkipError, match="no settings"):
        broken.context  # noqa: B018


def test_whose_the_credentials_are():
    user = boto3.client("iam")
    user.create_user(UserName="deployer")
    key = user.create_access_key(UserName="deployer")["AccessKey"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        found = one(account.credentials, setup())
    assert found == ("ok", f"arn:aws:iam::{ACCOUNT}:user/deployer | ")


def test_without_credentials(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    of = setup()
    status, text = one(account.credentials, of)
    assert status == "failed"
    assert text.startswith("no AWS credentials were found")
    assert one(account.region, of)[0] == "ok"
    with pytest.raises(SkipError, match="no credentials"):
        of.context  # noqa: B018


def test_an_aws_that_does_not_answer(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    of = setup()
    status, text = one(account.credentials, of)
    assert status == "failed"
    assert "GetCallerIdentity for your credentials gets no answer" in text
    with pytest.raises(SkipError, match="do not work"):
        of.context  # noqa: B018


def test_a_profile_that_is_not_there(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    of = setup()
    status, text = one(account.region, of)
    assert status == "failed"
    assert text.endswith("(nobody) could not be found | aws configure list-profiles")
    assert one(instance_type, of)[0] == "ok"


def test_regions(monkeypatch):
    assert one(account.region, setup()) == ("ok", f"{REGION} | ")
    assert one(account.region, setup(region="cn-north-1"))[0] == "ok"
    status, text = one(account.region, setup(region="mars-north-1"))
    assert status == "warning"
    assert "mars-north-1" in text
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    nowhere = setup()
    assert one(account.region, nowhere)[0] == "failed"
    with pytest.raises(SkipError, match="no region"):
        list(account.credentials(nowhere))
