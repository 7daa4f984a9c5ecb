"""S3: the bucket, what is below the prefix, and the names of models."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final

from mme_hosting.aws import AwsError
from mme_hosting.context import Context
from mme_hosting.doctor.findings import Finding, failed, ok, warning
from mme_hosting.doctor.setup import Setup
from mme_hosting.models import aliases as module
from mme_training.archives.keys import SUFFIX
from mme_training.s3 import Place

_PAGES: Final = 20  # of 1,000 keys
_LONGEST_KEY: Final = 1024  # of a target model
_SHOWN: Final = 3


def bucket(setup: Setup) -> Iterator[Finding]:
    """That it exists, in the endpoint's region."""
    context = setup.context
    name, region = context.models.bucket, context.aws.region
    try:
        found = context.aws.find("s3", "HeadBucket", f"the bucket {name}", Bucket=name)
    except AwsError as error:
        if error.code in ("301", "PermanentRedirect"):
            yield _elsewhere(name, "another region", region)
        elif error.code in ("403", "Forbidden") or error.denied:
            yield failed(
                f"{name} exists, and you may not list it: it belongs to somebody else, or its "
                "policy or yours does not let you",
                "mme iam deployer",
            )
        else:
            raise
        return
    if found is None:
        yield failed(f"there is no bucket {name}", f"aws s3 mb s3://{name} --region {region}")
    elif (where := found.get("BucketRegion") or region) != region:
        yield _elsewhere(name, where, region)
    else:
        yield ok(f"{name} exists, in {region}")


def prefix(setup: Setup) -> Iterator[Finding]:
    """What is below it: archives that can be named as target models, and nothing else."""
    context = setup.context
    place = context.models
    objects, cut = _objects(context, place)
    archives = [each for each in objects if each["Key"].endswith(SUFFIX)]
    others = [each for each in objects if not each["Key"].endswith(SUFFIX)]
    strays = [each for each in others if each["Key"] != place.below(module.FILE).key]
    faults = (
        ([each for each in archives if not each["Size"]], "of no bytes, which will not load"),
        ([each for each in archives if not _can_be_named(each, place)], _UNNAMEABLE),
        (strays, f"that are no {SUFFIX}, which no request can name"),
    )
    for found, what in faults:
        if found:
            yield warning(
                f"{place} has {len(found):,} objects {what}: {_some(found, place)}",
                f"aws s3 ls --recursive {place}",
            )
    if archives:
        more = "more than " if cut else ""
        yield ok(f"{place} has {more}{len(archives):,} archives")
    else:
        local = " --local" if setup.local else ""
        yield warning(f"{place} has no archives yet", f"mme models add MODEL.tar.gz{local}")


def aliases(setup: Setup) -> Iterator[Finding]:
    """That names of models can be read."""
    context = setup.context
    found = module.read(context)
    where = context.models.below(module.FILE)
    if found.tag is None:
        yield ok(f"there is no {where} yet: mme models add writes it")
    else:
        yield ok(f"{where} has {len(found.table.models):,} names")


_UNNAMEABLE: Final = (
    f"whose keys no request can name, which are ASCII and of at most {_LONGEST_KEY} characters"
)


def _objects(context: Context, place: Place) -> tuple[list[dict[str, Any]], bool]:
    """The first objects below the prefix, and whether there are more."""
    pages = context.aws.pages(
        "s3", "ListObjectsV2", str(place), Bucket=place.bucket, Prefix=place.key
    )
    first = list(itertools.islice(pages, _PAGES))
    found = [each for page in first for each in page.get("Contents", [])]
    cut = bool(first) and len(first) == _PAGES and first[-1].get("IsTruncated", False)
    return [each for each in found if not each["Key"].endswith("/")], cut


def _can_be_named(found: dict[str, Any], place: Place) -> bool:
    """Whether InvokeEndpoint takes it: printable ASCII, and no space at its beginning.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
    """
    key = found["Key"].removeprefix(place.key)
    return (
        key.isascii() and key.isprintable() and not key.startswith(" ") and len(key) <= _LONGEST_KEY
    )


def _some(found: Iterable[dict[str, Any]], place: Place) -> str:
    keys = [ascii(each["Key"].removeprefix(place.key))[1:-1] for each in found]
    shown = [key if len(key) <= 60 else f"{key[:57]}..." for key in keys[:_SHOWN]]
    return ", ".join([*shown, *(["..."] if len(keys) > _SHOWN else [])])


def _elsewhere(name: str, where: str, region: str) -> Finding:
    return failed(
        f"{name} is in {where}, and the endpoint will be in {region}: SageMaker reads models in "
        "its own region only"
    )
