"""The alias file in S3: read, and written only where nobody else wrote meanwhile.

It is one object, ``aliases.json`` below the endpoint's prefix, which SageMaker takes for no model.
S3 replaces it if its entity tag is still the one that was read:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import difflib
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from botocore.exceptions import BotoCoreError
from pydantic import ValidationError

from mme_hosting.aws import AwsError
from mme_hosting.context import Context
from mme_hosting.errors import HostingError
from mme_hosting.models.table import State, Table, merge
from mme_training.archives.keys import SUFFIX
from mme_training.s3 import Place

FILE: Final = "aliases.json"

_CHANGED: Final = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
_ATTEMPTS: Final = 40
_LONGEST_WAIT: Final = 1.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The table as it was read; `tag` is its entity tag, None where there is no file yet."""

    table: Table = field(default_factory=Table)
    tag: str | None = None


def resolve(context: Context, name: str) -> str:
    """The key that a model's name stands for now, relative to the endpoint's prefix.

    Args:
        context: the endpoint.
        name: of a model; what ends in ``.tar.gz`` is a key itself, and returned as it is.

    Raises:
        HostingError: there is no such name, or the names cannot be read.
    """
    if name.endswith(SUFFIX):
        return name
    models = read(context).table.models
    if name not in models:
        raise unknown(context, name, models)
    return models[name].current


def unknown(context: Context, name: str, names: Iterable[str]) -> HostingError:
    """The error that there is no such name."""
    near = difflib.get_close_matches(name, names, 3, 0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else "mme models ls shows what there is"
    return HostingError(f"there is no model {name} at {context.models}: {hint}")


def read(context: Context) -> Snapshot:
    """The table, empty where there is no file.

    Raises:
        HostingError: it cannot be read, or is not what this package writes.
    """
    place = context.models.below(FILE)
    found = context.aws.find("s3", "GetObject", str(place), Bucket=place.bucket, Key=place.key)
    if found is None:
        return Snapshot()
    try:
        return Snapshot(Table.model_validate_json(found["Body"].read()), found["ETag"])
    except BotoCoreError as error:
        raise HostingError(f"{place} breaks off while it is read ({error}): try again") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its content"
        raise HostingError(
            f"{place} is no file of aliases that this version of mme reads: {where}: "
            f"{first['msg']}. Take a later mme, or put back what was there"
        ) from None


def change(context: Context, base: Snapshot, changes: Mapping[str, State]) -> list[str]:
    """Make changes that were decided on `base`; nothing is written where nothing changes.

    Returns:
        The names that somebody else has changed meanwhile: theirs stays, all others are changed.

    Raises:
        HostingError: it cannot be written.
    """
    found = base
    for attempt in range(_ATTEMPTS):
        table, lost = merge(base.table, found.table, changes)
        if table == found.table or _write(context, table, found.tag):
            return lost
        time.sleep(random.uniform(0, min(_LONGEST_WAIT, 0.02 * 2**attempt)))  # noqa: S311
        found = read(context)
    raise HostingError(
        f"{context.models.below(FILE)}: others write it all the time, and nothing was changed "
        "in it: run it again"
    )


def encryption(context: Context) -> dict[str, str]:
    """PutObject's arguments for the endpoint's key."""
    key = context.deployment.kms_key
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}


def _write(context: Context, table: Table, tag: str | None) -> bool:
    """Replace the file that has this tag; False if it is another by now."""
    place: Place = context.models.below(FILE)
    condition: dict[str, Any] = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
    content = orjson.dumps(
        table.model_dump(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z
    )
    try:
        context.aws.call(
            "s3",
            "PutObject",
            str(place),
            Bucket=place.bucket,
            Key=place.key,
            Body=content,
            ContentType="application/json",
            **condition,
            **encryption(context),
        )
    except AwsError as error:
        if error.code in _CHANGED or error.code == "NoSuchKey":  # it was deleted
            return False
        raise
    return True
