"""The user's code of script mode, for containers that cannot reach S3 themselves.

A container in Docker has no way to what listens on this machine's loopback. What it would download
first of all is put where it would put it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

from mme_local.jobs.errors import JobError
from mme_local.jobs.layout import ML, Layout
from mme_local.jobs.request import Location, Plan
from mme_local.jobs.s3 import FAILURES, Store, Transfer

_NAME: Final = "sagemaker_submit_directory"
_FILE: Final = "input/sourcedir.tar.gz"


def bring(plan: Plan, layouts: list[Layout], store: Store) -> Plan:
    """Download the archive that ``sagemaker_submit_directory`` names, and name the file instead.

    Raises:
        JobError: there is no such archive.
    """
    given = plan.hyperparameters.get(_NAME)
    if given is None:
        return plan
    uri = given.strip('"')  # The SDK writes JSON.
    if not uri.startswith("s3://"):
        return plan
    try:
        store.download(Transfer(Location.parse(uri), layout.root / _FILE) for layout in layouts)
    except FAILURES as error:
        raise JobError(f"ClientError: Data download failed:{uri}: {error}") from error
    path = f"{ML}/{_FILE}"
    value = path if given == uri else json.dumps(path)
    return replace(plan, hyperparameters={**plan.hyperparameters, _NAME: value})
