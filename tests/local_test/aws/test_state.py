"""What outlives the local SageMaker's services of AWS, and what does not."""

from __future__ import annotations

import asyncio
import json

import pytest
from botocore.exceptions import ClientError

from mme_local.aws import state as module
from mme_local.aws.seeds import POLICY, seed
from mme_local.aws.state import State
from mme_local.errors import LocalError
from support.local_up import services

ALLOW = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}],
    }
)


@pytest.fixture
def kept(tmp_path):
    """A directory with the state of services that have ended."""
    with services(tmp_path / "first") as (_, clients):
        fill(clients)
        state = State(tmp_path / "state", clients)
        state.save()
        state.close()
    return tmp_path / "state"


def fill(clients):
    seed(clients)
    s3, iam = clients.client("s3"), clients.client("iam")
    s3.create_bucket(Bucket="far", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(
        Bucket="far",
        Key="a/ü b.csv",
        Body=b"1,2\n",
        ContentType="text/csv",
        CacheControl="no-store",
        Metadata={"city": "Chicago"},
    )
    s3.put_object(Bucket="far", Key="empty/", Body=b"")
    policy = iam.create_policy(PolicyName="reads", PolicyDocument=ALLOW)["Policy"]["Arn"]
    iam.create_group(GroupName="people")
    iam.attach_group_policy(GroupName="people", PolicyArn=policy)
    iam.create_user(UserName="ann", Path="/staff/")
    iam.add_user_to_group(GroupName="people", UserName="ann")
    iam.put_user_policy(UserName="ann", PolicyName="own", PolicyDocument=ALLOW)
    iam.create_access_key(UserName="ann")


def test_all_that_is_kept_comes_back(kept, tmp_path):
    with services(tmp_path / "second") as (_, clients):
        state = State(kept, clients)
        state.restore()
        seed(clients)  # finds its role and bucket there
        s3, iam = clients.client("s3"), clients.client("iam")
        names = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
        assert names == {"far", "sagemaker-us-east-1-123456789012"}
        assert s3.get_bucket_location(Bucket="far")["LocationConstraint"] == "eu-west-1"
        found = s3.get_object(Bucket="far", Key="a/ü b.csv")
        assert found["Body"].read() == b"1,2\n"
        assert (found["ContentType"], found["CacheControl"]) == ("text/csv", "no-store")
        assert found["Metadata"] == {"city": "Chicago"}
        assert s3.head_object(Bucket="far", Key="empty/")["ContentLength"] == 0

        role = iam.get_role(RoleName="SageMakerRole")["Role"]
        trusted = role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]
        assert trusted == {"Service": "sagemaker.amazonaws.com"}
        attached = iam.list_attached_role_policies(RoleName="SageMakerRole")["AttachedPolicies"]
        assert [each["PolicyArn"] for each in attached] == [POLICY]
        user = iam.get_user(UserName="ann")["User"]
        assert user["Arn"] == "arn:aws:iam::123456789012:user/staff/ann"
        assert iam.list_user_policies(UserName="ann")["PolicyNames"] == ["own"]
        groups = iam.list_groups_for_user(UserName="ann")["Groups"]
        assert [group["GroupName"] for group in groups] == ["people"]
        group_policies = iam.list_attached_group_policies(GroupName="people")["AttachedPolicies"]
        assert [each["PolicyName"] for each in group_policies] == ["reads"]
        # No API gives a secret out, so none is written.
        assert iam.list_access_keys(UserName="ann")["AccessKeyMetadata"] == []
        state.close()


def test_nothing_is_written_again_that_has_not_changed(kept, tmp_path):
    with services(tmp_path / "second") as (_, clients):
        state = State(kept, clients)
        state.restore()
        files = {file.name for file in (kept / "objects").iterdir()}
        before = (kept / "index.json").stat().st_mtime_ns
        state.save()  # the times of the objects are new
        state.save()
        assert {file.name for file in (kept / "objects").iterdir()} == files
        first = (kept / "index.json").stat().st_mtime_ns
        state.save()
        assert (kept / "index.json").stat().st_mtime_ns == first >= before
        state.close()


def test_changes_are_saved_as_they_come(tmp_path, running, monkeypatch):
    clients = running[1]
    monkeypatch.setattr(module, "INTERVAL", 0.05)
    s3 = clients.client("s3")
    s3.create_bucket(Bucket="changes")
    directory = tmp_path / "state"
    state = State(directory, clients)

    def objects() -> dict[str, bytes]:
        index = json.loads((directory / "index.json").read_text())
        return {
            each["key"]: (directory / "objects" / each["file"]).read_bytes()
            for each in index["objects"]
            if each["bucket"] == "changes"
        }

    async def story() -> None:
        keeping = asyncio.create_task(state.keep())
        for change, expected in (
            (lambda: s3.put_object(Bucket="changes", Key="a", Body=b"1"), {"a": b"1"}),
            (lambda: s3.put_object(Bucket="changes", Key="a", Body=b"22"), {"a": b"22"}),
            (lambda: s3.put_object(Bucket="changes", Key="b", Body=b""), {"a": b"22", "b": b""}),
            (lambda: s3.delete_object(Bucket="changes", Key="a"), {"b": b""}),
        ):
            await asyncio.to_thread(change)
            async with asyncio.timeout(10):
                while not (directory / "index.json").exists() or objects() != expected:
                    await asyncio.sleep(0.02)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    asyncio.run(story())
    state.save()
    assert len(list((directory / "objects").iterdir())) == 1
    state.close()


def test_one_process_at_a_time(tmp_path, clients):
    first = State(tmp_path, clients)
    with pytest.raises(LocalError, match="another local SageMaker keeps its state in"):
        State(tmp_path, clients)
    first.close()
    State(tmp_path, clients).close()


@pytest.mark.parametrize("spoil", ["index", "object"])
def test_a_directory_that_is_spoilt_is_said(kept, tmp_path, spoil):
    if spoil == "index":
        (kept / "index.json").write_text("{")
    else:
        next((kept / "objects").iterdir()).unlink()
    with services(tmp_path / "second") as (_, clients):
        state = State(kept, clients)
        with pytest.raises(LocalError, match=r"cannot be read.*Give another directory"):
            state.restore()
        state.close()


def test_an_index_half_written_does_not_count(kept, tmp_path):
    (kept / "index.json.new").write_text("{")
    with services(tmp_path / "second") as (_, clients):
        state = State(kept, clients)
        state.restore()
        clients.client("s3").head_bucket(Bucket="far")
        state.close()


def test_an_empty_directory_is_an_empty_state(tmp_path, clients):
    state = State(tmp_path / "new", clients)
    state.restore()
    with pytest.raises(ClientError):
        clients.client("s3").head_bucket(Bucket="far")
    state.close()
