"""Conditional writes to S3 that hold among threads.

moto looks whether an object may be written, and writes it later: of several requests at once with
the same condition, more than one finds it true. S3 lets one through:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import threading
from typing import Any, Final

from moto.s3.responses import S3Response

_CONDITIONS: Final = ("If-Match", "If-None-Match")

_put_object = S3Response.put_object
_one_at_a_time = threading.Lock()


def _put(self: S3Response) -> Any:
    """Write an object; the body has been received."""
    if not any(name in self.headers for name in _CONDITIONS):
        return _put_object(self)
    with _one_at_a_time:
        return _put_object(self)


def install() -> None:
    """Have moto's S3 in this process write so."""
    S3Response.put_object = _put  # type: ignore[method-assign]
