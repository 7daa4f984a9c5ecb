"""What ends a command of this package with a reason."""

from __future__ import annotations


class HostingError(Exception):
    """AWS, a registry or the Docker engine refuses; the message says which, what and what to do."""


class RefusedError(HostingError):
    """Nothing was done, whatever the command had begun with otherwise."""
