"""What is examined: the settings and the account, or why there are none."""

from __future__ import annotations

import os
from typing import Final

import boto3

from mme_hosting.aws import Aws
from mme_hosting.context import Context
from mme_hosting.doctor.findings import SkipError
from mme_hosting.errors import HostingError
from mme_hosting.settings import Deployment

_SAGEMAKER: Final = "AWS_ENDPOINT_URL_SAGEMAKER"  # as mme local exec sets it
_LOOPBACK: Final = "//127.0.0.1:"


class Setup:
    """Settings and AWS, each of which may lack.

    Args:
        deployment: the settings, or the error that they are not usable.
        region: that of a flag, which the settings may not have.
        local: whether AWS is the local SageMaker by --local.
        training: whether training jobs are to have role and instance type, too.
    """

    def __init__(
        self,
        deployment: Deployment | HostingError,
        region: str | None = None,
        local: bool = False,
        training: bool = False,
    ) -> None:
        self.deployment = deployment
        self.local = local
        self.emulated = local or _LOOPBACK in os.environ.get(_SAGEMAKER, "")
        """Whether SageMaker is one on this machine, by --local or by the environment."""
        self.training = training
        self.no_region: HostingError | None = None
        """Why no client can be made."""
        self.no_credentials: HostingError | None = None
        """Why AWS does not say whose the credentials are."""
        self._aws: Aws | None = None
        known = None if isinstance(deployment, HostingError) else deployment.region
        try:
            self._aws = Aws(region or known)
            self._aws.caller  # noqa: B018 - kept, and asked for once before there are threads
        except HostingError as error:
            if self._aws is None:
                self.no_region = error
            else:
                self.no_credentials = error

    @property
    def region(self) -> str | None:
        """Where calls go; None if that is not known."""
        return self._aws.region if self._aws else None

    @property
    def aws(self) -> Aws:
        """An account that answers.

        Raises:
            SkipError: there is none.
        """
        if self._aws is None:
            raise SkipError("no region")
        if self.no_credentials:
            none = boto3.session.Session().get_credentials() is None
            raise SkipError("no credentials" if none else "the credentials do not work")
        return self._aws

    @property
    def settings(self) -> Deployment:
        """The settings.

        Raises:
            SkipError: they are not usable.
        """
        if isinstance(self.deployment, HostingError):
            raise SkipError("no settings")
        return self.deployment

    @property
    def context(self) -> Context:
        """Both.

        Raises:
            SkipError: one of them lacks.
        """
        return Context(self.settings, self.aws)
