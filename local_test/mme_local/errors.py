"""Errors as AWS's services answer them: a code, a text, an HTTP status."""

from __future__ import annotations

from http import HTTPStatus


class LocalError(Exception):
    """The local SageMaker cannot do what it was asked for; the text says why and what to do."""


class ApiError(LocalError):
    """An error that goes to the client of an API.

    Args:
        code: the error's name, as botocore's clients see it: ``ValidationException``.
        message: the text, as AWS words it where that is known.
        status: of the HTTP answer.
        fields: further members of the error's shape: ``OriginalStatusCode`` of a ``ModelError``.
    """

    def __init__(
        self, code: str, message: str, status: int = HTTPStatus.BAD_REQUEST, **fields: str | int
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = int(status)
        self.fields = fields


def validation_error(message: str) -> ApiError:
    """A request that SageMaker refuses (400)."""
    return ApiError("ValidationException", message)


def not_found(what: str) -> ApiError:
    """A resource that is not there: SageMaker says so by a ``ValidationException`` (400)."""
    return ApiError("ValidationException", f"Could not find {what}.")
