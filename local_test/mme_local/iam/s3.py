"""What IAM is asked for a request to S3: a method, a path, and maybe a word in the query.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

from mme_local.iam.decisions import Ask
from mme_local.iam.policies import Context
from mme_local.iam.requests import body

UNKNOWN: Final = "s3:an operation that is not known here"
"""An action that only a policy for ``s3:*`` or ``*`` allows, or denies."""
_SUBDOMAIN: Final = ".localhost"
_ON_OBJECTS: Final = {
    ("GET", ""): "GetObject",
    ("HEAD", ""): "GetObject",
    ("PUT", ""): "PutObject",
    ("DELETE", ""): "DeleteObject",
    ("GET", "attributes"): "GetObject",
    ("POST", "uploads"): "PutObject",
    ("PUT", "uploadId"): "PutObject",
    ("POST", "uploadId"): "PutObject",
    ("GET", "uploadId"): "ListMultipartUploadParts",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("GET", "versionId"): "GetObjectVersion",
    ("HEAD", "versionId"): "GetObjectVersion",
    ("DELETE", "versionId"): "DeleteObjectVersion",
    ("GET", "tagging"): "GetObjectTagging",
    ("PUT", "tagging"): "PutObjectTagging",
    ("DELETE", "tagging"): "DeleteObjectTagging",
    ("GET", "acl"): "GetObjectAcl",
    ("PUT", "acl"): "PutObjectAcl",
    ("GET", "retention"): "GetObjectRetention",
    ("PUT", "retention"): "PutObjectRetention",
    ("GET", "legal-hold"): "GetObjectLegalHold",
    ("PUT", "legal-hold"): "PutObjectLegalHold",
    ("POST", "restore"): "RestoreObject",
}
_ON_BUCKETS: Final = {
    ("GET", ""): "ListBucket",
    ("HEAD", ""): "ListBucket",
    ("PUT", ""): "CreateBucket",
    ("DELETE", ""): "DeleteBucket",
    ("GET", "versions"): "ListBucketVersions",
    ("GET", "uploads"): "ListBucketMultipartUploads",
    ("POST", "delete"): "DeleteObject",
    ("GET", "location"): "GetBucketLocation",
    ("GET", "policyStatus"): "GetBucketPolicyStatus",
    ("DELETE", "policy"): "DeleteBucketPolicy",
    ("DELETE", "website"): "DeleteBucketWebsite",
}
_SETTINGS: Final = {
    "accelerate": "AccelerateConfiguration",
    "acl": "BucketAcl",
    "analytics": "AnalyticsConfiguration",
    "cors": "BucketCORS",
    "encryption": "EncryptionConfiguration",
    "intelligent-tiering": "IntelligentTieringConfiguration",
    "inventory": "InventoryConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "logging": "BucketLogging",
    "metrics": "MetricsConfiguration",
    "notification": "BucketNotification",
    "object-lock": "BucketObjectLockConfiguration",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "replication": "ReplicationConfiguration",
    "requestPayment": "BucketRequestPayment",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
    "website": "BucketWebsite",
}
"""Settings of buckets, which are read and written; to take one away is to write it."""
_VERBS: Final = {"GET": "Get", "PUT": "Put", "DELETE": "Put"}
_OTHERS: Final = ("select", "torrent", "session", "metadataTable")
_WORDS: Final = frozenset(
    {word for _, word in (*_ON_OBJECTS, *_ON_BUCKETS) if word} | set(_SETTINGS) | set(_OTHERS)
)
_LISTING: Final = {"prefix": "s3:prefix", "delimiter": "s3:delimiter"}


def asks(environ: dict[str, Any], exists: Callable[[str, str], bool]) -> Iterator[Ask]:
    """What a request needs.

    Args:
        environ: of the request, as WSGI has it.
        exists: whether there is an object of a bucket and a key.
    """
    bucket, key = _place(environ)
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    method = environ["REQUEST_METHOD"]
    word = _word(query)
    if not bucket:
        yield Ask("s3:ListAllMyBuckets" if method == "GET" else UNKNOWN)
    elif key:
        action = f"s3:{_ON_OBJECTS[method, word]}" if (method, word) in _ON_OBJECTS else UNKNOWN
        yield Ask(action, _arn(bucket, key))
        yield from _besides(environ, action, bucket, key)
        if action == "s3:GetObject" and not exists(bucket, key):
            # Else S3 would tell by a 404 what there is, to whom it may not.
            yield Ask("s3:ListBucket", _arn(bucket))
    elif (method, word) == ("POST", "delete"):
        keys = _keys(body(environ))
        if keys is None:
            yield Ask(UNKNOWN, _arn(bucket))
        for each in keys or ():
            yield Ask("s3:DeleteObject", _arn(bucket, each))
    else:
        yield Ask(_on_bucket(method, word), _arn(bucket), _listing(query))


def _besides(environ: Mapping[str, Any], action: str, bucket: str, key: str) -> Iterator[Ask]:
    """What headers ask for when an object is written."""
    if action != "s3:PutObject":
        return
    if "HTTP_X_AMZ_TAGGING" in environ:
        yield Ask("s3:PutObjectTagging", _arn(bucket, key))
    if "HTTP_X_AMZ_ACL" in environ:
        yield Ask("s3:PutObjectAcl", _arn(bucket, key))
    if source := environ.get("HTTP_X_AMZ_COPY_SOURCE"):
        name = unquote(urlsplit(source).path).lstrip("/")  # as moto reads it, also of //host/...
        yield Ask("s3:GetObject", _arn(*name.partition("/")[::2]))


def _on_bucket(method: str, word: str) -> str:
    if (method, word) in _ON_BUCKETS:
        return f"s3:{_ON_BUCKETS[method, word]}"
    if word in _SETTINGS and method in _VERBS:
        return f"s3:{_VERBS[method]}{_SETTINGS[word]}"
    return UNKNOWN


def _word(query: Mapping[str, list[str]]) -> str:
    """What the query says that the request is about, besides parameters; of two, no operation."""
    found = [name for name in query if name in _WORDS]
    return "&".join([name for name in found if name != "versionId"] or found)


def _listing(query: Mapping[str, list[str]]) -> Context:
    return {key: query[name][0] for name, key in _LISTING.items() if name in query}


def _place(environ: Mapping[str, Any]) -> tuple[str, str]:
    """Bucket and key; the bucket may be in the host's name, as in ``houses.s3.localhost``."""
    path = environ.get("PATH_INFO", "").encode("latin-1").decode(errors="replace")[1:]
    host = environ.get("HTTP_HOST", "").partition(":")[0]
    if host.endswith(_SUBDOMAIN):
        return host.removeprefix("www.").partition(".")[0], path
    bucket, _, key = path.partition("/")
    return bucket, key


def _arn(bucket: str, key: str = "") -> str:
    return f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"


def _keys(content: bytes) -> list[str] | None:
    """The keys of DeleteObjects; None of what is no XML, as chunks that moto puts together."""
    try:
        root = ElementTree.fromstring(content)  # noqa: S314 - moto reads it so, too
    except ElementTree.ParseError:
        return None
    return [each.text or "" for each in root.iterfind("{*}Object/{*}Key")]
