"""Why a training job fails."""

from __future__ import annotations

from mme_local.errors import LocalError


class JobError(LocalError):
    """The job fails; the text is its FailureReason: ``ClientError: ...``."""


class StoppedError(Exception):
    """The job is stopped while something is done for it."""
