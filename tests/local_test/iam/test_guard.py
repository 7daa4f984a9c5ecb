"""The services around SageMaker: a user may do what its policies say, and nothing else."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from mme_local.aws.clients import Clients
from support.iam import allow, client, deny, policy, refused

ACCOUNT = "123456789012"
EMPTY = policy(allow("x:y"))
S3 = "arn:aws:s3:::"


@pytest.fixture
def bucket(clients: Clients) -> str:
    """A bucket with one object."""
    name = f"houses-{uuid.uuid4().hex[:8]}"
    clients.client("s3").create_bucket(Bucket=name)
    clients.client("s3").put_object(Bucket=name, Key="models/a.tar.gz", Body=b"archive")
    return name


def test_a_user_without_a_policy_may_do_nothing(user: Any, bucket: str) -> None:
    ann = user()
    assert refused(ann.client("s3").get_object, Bucket=bucket, Key="models/a.tar.gz") == (
        f"User: {ann.arn} is not authorized to perform: s3:GetObject on resource: "
        f'"{S3}{bucket}/models/a.tar.gz" because no identity-based policy allows the s3:GetObject '
        "action"
    )


def test_who_one_is_can_always_be_asked(user: Any) -> None:
    ann = user(deny("*"))
    assert ann.client("sts").get_caller_identity()["Arn"] == ann.arn


def test_keys_that_iam_does_not_know_may_do_everything(clients: Clients, bucket: str) -> None:
    root = client(
        "s3", clients.endpoint, aws_access_key_id="AKIAOTHER", aws_secret_access_key="any"
    )
    assert root.get_object(Bucket=bucket, Key="models/a.tar.gz")["Body"].read() == b"archive"


def test_a_deny_counts_for_more(user: Any, bucket: str) -> None:
    s3 = user(allow("*"), deny("s3:GetObject", f"{S3}*/models/*")).client("s3")
    s3.put_object(Bucket=bucket, Key="open", Body=b"1")
    s3.get_object(Bucket=bucket, Key="open")
    said = refused(s3.get_object, Bucket=bucket, Key="models/a.tar.gz")
    assert said.endswith("with an explicit deny in an identity-based policy")


def test_reading_objects(user: Any, bucket: str) -> None:
    ann = user(allow("s3:GetObject", f"{S3}{bucket}/models/*"))
    s3 = ann.client("s3")
    s3.head_object(Bucket=bucket, Key="models/a.tar.gz")
    assert s3.get_object(Bucket=bucket, Key="models/a.tar.gz")["Body"].read() == b"archive"
    refused(s3.head_object, Bucket=bucket, Key="other")
    refused(s3.get_object, Bucket="elsewhere", Key="models/a.tar.gz")
    for call in (s3.put_object, s3.delete_object, s3.get_object_tagging):
        refused(call, Bucket=bucket, Key="models/a.tar.gz")
    for call in (s3.list_objects_v2, s3.head_bucket, s3.get_bucket_location, s3.delete_bucket):
        refused(call, Bucket=bucket)
    refused(s3.list_buckets)


def test_what_is_not_there_is_told_to_those_who_may_list(user: Any, bucket: str) -> None:
    reading = allow("s3:GetObject", f"{S3}{bucket}/*")
    ann = user(reading)
    said = refused(ann.client("s3").get_object, Bucket=bucket, Key="none")
    assert f's3:ListBucket on resource: "{S3}{bucket}"' in said
    ann.may(reading, allow("s3:ListBucket", f"{S3}{bucket}"))
    with pytest.raises(ClientError) as caught:
        ann.client("s3").head_object(Bucket=bucket, Key="none")
    assert caught.value.response["Error"]["Code"] == "404"


def test_listing_may_be_for_a_prefix(user: Any, bucket: str) -> None:
    ann = user(allow("s3:ListBucket", f"{S3}{bucket}", StringLike={"s3:prefix": "models/*"}))
    s3 = ann.client("s3")
    assert s3.list_objects_v2(Bucket=bucket, Prefix="models/")["KeyCount"] == 1
    refused(s3.list_objects_v2, Bucket=bucket, Prefix="other/")
    refused(s3.list_objects_v2, Bucket=bucket)


def test_writing_objects_also_in_parts(user: Any, bucket: str, tmp_path: Any) -> None:
    ann = user(allow("s3:PutObject", f"{S3}{bucket}/models/*"))
    s3 = ann.client("s3")
    s3.put_object(Bucket=bucket, Key="models/b.tar.gz", Body=b"1")
    refused(s3.put_object, Bucket=bucket, Key="b.tar.gz", Body=b"1" * (1 << 20))
    large = tmp_path / "large"
    large.write_bytes(bytes(9 << 20))
    s3.upload_file(str(large), bucket, "models/large")
    refused(s3.create_multipart_upload, Bucket=bucket, Key="large")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="models/c")["UploadId"]
    refused(s3.list_parts, Bucket=bucket, Key="models/c", UploadId=upload)
    refused(s3.abort_multipart_upload, Bucket=bucket, Key="models/c", UploadId=upload)
    refused(s3.put_object, Bucket=bucket, Key="models/d", Body=b"1", Tagging="a=b")
    ann.may(allow("s3:AbortMultipartUpload", f"{S3}{bucket}/*"))
    s3.abort_multipart_upload(Bucket=bucket, Key="models/c", UploadId=upload)


def test_copying_needs_both_ends(user: Any, bucket: str) -> None:
    ann = user(allow("s3:PutObject", f"{S3}{bucket}/*"))
    copy = {"Bucket": bucket, "Key": "b", "CopySource": f"{bucket}/models/a.tar.gz"}
    assert "s3:GetObject" in refused(ann.client("s3").copy_object, **copy)
    ann.may(allow(["s3:PutObject", "s3:GetObject"], f"{S3}{bucket}/*"))
    ann.client("s3").copy_object(**copy)


def test_deleting_objects(user: Any, bucket: str, clients: Clients) -> None:
    clients.client("s3").put_object(Bucket=bucket, Key="models/b", Body=b"1")
    s3 = user(allow("s3:DeleteObject", f"{S3}{bucket}/models/*")).client("s3")
    s3.delete_object(Bucket=bucket, Key="models/a.tar.gz")
    keys = [{"Key": "models/b"}, {"Key": "other"}]
    said = refused(s3.delete_objects, Bucket=bucket, Delete={"Objects": keys})
    assert f"{bucket}/other" in said
    s3.delete_objects(Bucket=bucket, Delete={"Objects": keys[:1]})
    assert "Contents" not in clients.client("s3").list_objects_v2(Bucket=bucket)


def test_making_buckets_and_their_settings(user: Any) -> None:
    name = f"made-{uuid.uuid4().hex[:8]}"
    ann = user(allow(["s3:CreateBucket", "s3:PutEncryptionConfiguration"], f"{S3}made-*"))
    s3 = ann.client("s3")
    s3.create_bucket(Bucket=name)
    refused(s3.create_bucket, Bucket="other")
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    for call in (s3.get_bucket_encryption, s3.get_bucket_versioning, s3.get_bucket_policy):
        refused(call, Bucket=name)


def test_what_s3_has_and_we_do_not_know_is_for_those_who_may_all(user: Any, bucket: str) -> None:
    ann = user(allow(["s3:Get*", "s3:Put*", "s3:List*"]))
    call = ann.client("s3").get_object_torrent
    assert "s3:an operation that is not known here" in refused(
        call, Bucket=bucket, Key="models/a.tar.gz"
    )
    ann.may(allow("s3:*"))
    call(Bucket=bucket, Key="models/a.tar.gz")


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_addresses_that_are_signed(user: Any, bucket: str, version: str) -> None:
    s3 = user(allow("s3:GetObject", f"{S3}{bucket}/models/*")).client("s3", version)
    for key, status in (("models/a.tar.gz", 200), ("other", 403)):
        params = {"Bucket": bucket, "Key": key}
        address = s3.generate_presigned_url("get_object", Params=params)
        answer = httpx.get(address, trust_env=False)
        assert answer.status_code == status
        assert ("<Code>AccessDenied</Code>" in answer.text) == (status == 403)


def test_a_bucket_in_the_hosts_name(user: Any, bucket: str, clients: Clients) -> None:
    signed = user(allow("s3:GetObject", f"{S3}{bucket}/models/*")).client("s3")
    address = signed.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    query = address.partition("?")[2]
    host = {"host": f"{bucket}.s3.localhost"}
    for key, status in (("models/a.tar.gz", 200), ("k", 403)):
        url = f"{clients.endpoint}/{key}?{query}"
        assert httpx.get(url, headers=host, trust_env=False).status_code == status


def signed(user: Any, service: str) -> dict[str, str]:
    """The header that a request is signed with; the signature itself is not checked."""
    scope = f"Credential={user.key}/20260101/us-east-1/{service}/aws4_request"
    return {"authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"}


def test_a_header_of_the_older_signature(user: Any, bucket: str, clients: Clients) -> None:
    ann = user(allow("s3:GetObject", f"{S3}{bucket}/models/*"))
    header = {"authorization": f"AWS {ann.key}:c2lnbmF0dXJl"}
    for key, status in (("models/a.tar.gz", 200), ("other", 403)):
        url = f"{clients.endpoint}/{bucket}/{key}"
        assert httpx.get(url, headers=header, trust_env=False).status_code == status


def test_a_copys_source_is_what_is_copied(user: Any, bucket: str, clients: Clients) -> None:
    ann = user(allow("s3:*", [f"{S3}own", f"{S3}own/*"]))
    clients.client("s3").create_bucket(Bucket="own")
    headers = {**signed(ann, "s3"), "x-amz-copy-source": f"//own/{bucket}/models/a.tar.gz"}
    answer = httpx.put(f"{clients.endpoint}/own/copy", headers=headers, trust_env=False)
    assert answer.status_code == 403
    assert f"{S3}{bucket}/models/a.tar.gz" in answer.text


def test_keys_to_delete_that_come_in_chunks(user: Any, bucket: str, clients: Clients) -> None:
    ann = user(allow("s3:DeleteObject", f"{S3}{bucket}/own/*"))
    content = b"<Delete><Object><Key>models/a.tar.gz</Key></Object></Delete>"
    chunked = {
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(len(content)),
    }
    answer = httpx.post(
        f"{clients.endpoint}/{bucket}?delete",
        headers={**signed(ann, "s3"), **chunked},
        content=b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content),
        trust_env=False,
    )
    assert answer.status_code == 403
    clients.client("s3").head_object(Bucket=bucket, Key="models/a.tar.gz")


def test_a_request_for_two_settings_is_neither(user: Any, bucket: str, clients: Clients) -> None:
    ann = user(allow("s3:GetBucketTagging", f"{S3}{bucket}"))
    url = f"{clients.endpoint}/{bucket}?tagging&policy"
    assert httpx.get(url, headers=signed(ann, "s3"), trust_env=False).status_code == 403


def test_a_request_for_two_operations_is_neither(user: Any, clients: Clients) -> None:
    ann = user(allow("iam:GetUser"))
    answer = httpx.post(
        clients.endpoint,
        headers={**signed(ann, "iam"), "x-amz-target": "IAM.GetUser"},
        data={"Action": "ListUsers", "Version": "2010-05-08"},
        trust_env=False,
    )
    assert answer.status_code == 403


def test_groups_and_attached_policies_count(user: Any, bucket: str, clients: Clients) -> None:
    iam, ann = clients.client("iam"), user()
    iam.create_group(GroupName="team")
    iam.add_user_to_group(GroupName="team", UserName=ann.name)
    document = policy(allow("s3:ListBucket"))
    made = iam.create_policy(PolicyName="reading", PolicyDocument=document)["Policy"]["Arn"]
    refused(ann.client("s3").head_bucket, Bucket=bucket)
    iam.attach_group_policy(GroupName="team", PolicyArn=made)
    ann.client("s3").head_bucket(Bucket=bucket)
    changed = policy(allow("s3:GetObject"))
    iam.create_policy_version(PolicyArn=made, PolicyDocument=changed, SetAsDefault=True)
    refused(ann.client("s3").head_bucket, Bucket=bucket)


def test_a_role_that_was_assumed_has_its_own_policies(clients: Clients, bucket: str) -> None:
    iam = clients.client("iam")
    role = iam.create_role(RoleName="app", Path="/mme/", AssumeRolePolicyDocument=EMPTY)["Role"]
    assumed = clients.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="me")
    keys = assumed["Credentials"]
    s3 = client(
        "s3",
        clients.endpoint,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    said = refused(s3.list_objects_v2, Bucket=bucket)
    assert said.startswith(f"User: arn:aws:sts::{ACCOUNT}:assumed-role/app/me is not authorized")
    condition = {"aws:PrincipalArn": role["Arn"]}
    document = policy(allow("s3:ListBucket", ArnEquals=condition))
    iam.put_role_policy(RoleName="app", PolicyName="p", PolicyDocument=document)
    s3.list_objects_v2(Bucket=bucket)
    iam.delete_role_policy(RoleName="app", PolicyName="p")
    iam.delete_role(RoleName="app")
    refused(s3.list_objects_v2, Bucket=bucket)


def test_regions_and_accounts_are_known(user: Any, bucket: str) -> None:
    condition = {"aws:RequestedRegion": "us-east-1", "aws:ResourceAccount": ACCOUNT}
    ann = user(allow("s3:ListBucket", StringEquals=condition))
    ann.client("s3").head_bucket(Bucket=bucket)
    ann.may(allow("s3:*", StringEquals={"aws:RequestedRegion": "eu-west-1"}))
    refused(ann.client("s3").head_bucket, Bucket=bucket)
