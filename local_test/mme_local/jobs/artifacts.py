"""What a job leaves behind: ``model.tar.gz``, ``output.tar.gz``."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mme_local.jobs.errors import JobError
from mme_local.jobs.request import Location, Plan
from mme_local.jobs.s3 import FAILURES, Store, Transfer, files_below

_PARTIAL: Final = ".sagemaker-ignore"
"""Ending of files that SageMaker does not keep."""


def upload_model(plan: Plan, directories: Sequence[Path], scratch: Path, store: Store) -> str:
    """Upload what the hosts have in ``/opt/ml/model``, put together; return its S3 URI.

    Raises:
        JobError: it cannot be uploaded.
    """
    if not plan.compressed:
        prefix = plan.output / "model/"
        _upload(
            [
                Transfer(prefix / path.relative_to(directory).as_posix(), path)
                for directory in directories
                for path in files_below(directory)
                if not path.name.endswith(_PARTIAL)
            ],
            store,
        )
        return str(prefix)
    return str(_upload_archive(plan.output / "model.tar.gz", directories, scratch, store))


def upload_output(plan: Plan, directories: Sequence[Path], scratch: Path, store: Store) -> None:
    """Upload what the hosts have in ``/opt/ml/output/data``, if there is anything.

    Raises:
        JobError: it cannot be uploaded.
    """
    if is_filled(directories):
        _upload_archive(plan.output / "output.tar.gz", directories, scratch, store)


def is_filled(directories: Sequence[Path]) -> bool:
    """Whether there is a file in any of the directories."""
    return any(any(files_below(directory)) for directory in directories)


def _upload_archive(
    location: Location, directories: Sequence[Path], scratch: Path, store: Store
) -> Location:
    archive = scratch / location.key.rpartition("/")[2]
    try:
        pack(directories, archive)
    except OSError as error:
        raise JobError(_failed(error)) from error
    _upload([Transfer(location, archive)], store)
    return location


def pack(directories: Sequence[Path], archive: Path) -> None:
    """Write the content of the directories into one archive; of the same name the first counts.

    Raises:
        OSError: something cannot be read or written.
    """
    packed: set[str] = set()
    with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
        for directory in directories:
            for path in sorted(directory.rglob("*")):
                name = path.relative_to(directory).as_posix()
                if name in packed or name.endswith(_PARTIAL):
                    continue
                packed.add(name)
                tar.add(path, name, recursive=False, filter=_as_root)


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _upload(transfers: Sequence[Transfer], store: Store) -> None:
    try:
        for transfer in transfers:
            store.upload(transfer)
    except FAILURES as error:
        raise JobError(_failed(error)) from error


def _failed(error: BaseException) -> str:
    # boto3 names the file, which is elsewhere on AWS.
    said = re.sub(r"Failed to upload \S+ to", "Failed to upload to", str(error))
    return f"ClientError: Artifact upload failed:{said}"
