"""The same request for a shell: as a line of curl, or of the AWS CLI.

Credentials are named by AWS's environment variables; their values are never in a line.
"""

from __future__ import annotations

import shlex
from typing import Final

from mme_hosting.context import Context
from mme_hosting.invoke.request import STDIN, Request

_HEADERS: Final = {
    "content_type": "Content-Type",
    "accept": "Accept",
    "target": "X-Amzn-SageMaker-Target-Model",
    "attributes": "X-Amzn-SageMaker-Custom-Attributes",
}
_OPTIONS: Final = {
    "target": "--target-model",
    "content_type": "--content-type",
    "accept": "--accept",
    "attributes": "--custom-attributes",
}
_SIGNED: Final = (
    '--user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"',
    # Only where there is one: curl signs an empty header too, and does not send it.
    '${AWS_SESSION_TOKEN:+-H "x-amz-security-token: $AWS_SESSION_TOKEN"}',
)
# Any credentials do for the local SageMaker, but the AWS CLI wants some.
_LOCAL: Final = "AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local"


def curl(context: Context, request: Request, local: bool, output: str | None = None) -> str:
    """A line of curl; signed by it (7.75 or later), except to the local SageMaker."""
    address = context.aws.client("sagemaker-runtime").meta.endpoint_url
    words = ["curl -sS --fail-with-body"]
    if not local:
        words += [f"--aws-sigv4 aws:amz:{context.aws.region}:sagemaker", *_SIGNED]
    words += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in _given(request, _HEADERS)]
    if request.file is None:
        words.append(f"--data-raw {shlex.quote(request.data)}")
    else:
        words.append(f"--data-binary {shlex.quote(f'@{request.file}')}")
    words += [f"-o {shlex.quote(output)}"] if output else []
    return " ".join([*words, shlex.quote(f"{address}/endpoints/{context.name}/invocations")])


def aws_cli(context: Context, request: Request, local: bool, output: str | None = None) -> str:
    """A line of the AWS CLI, 1 or 2; without `output`, the body is on standard output alone."""
    words = [f"{_LOCAL} aws" if local else "aws", "sagemaker-runtime invoke-endpoint"]
    words.append(f"--region {context.aws.region} --endpoint-name {context.name}")
    if local:
        address = context.aws.client("sagemaker-runtime").meta.endpoint_url
        words.append(f"--endpoint-url {address}")
    words += [f"{name}={shlex.quote(value)}" for name, value in _given(request, _OPTIONS)]
    if request.file is None:
        words.append(f"--body fileb://<(printf %s {shlex.quote(request.data)})")
    else:
        file = "/dev/stdin" if request.file == STDIN else str(request.file)
        words.append(f"--body {shlex.quote(f'fileb://{file}')}")
    # The CLI writes what it was told besides the body to standard output.
    words.append(shlex.quote(_file(output)) if output else "/dev/fd/3 3>&1 1>&2")
    return " ".join(words)


def _file(name: str) -> str:
    """The name of a file where options may stand, too."""
    return f"./{name}" if name.startswith("-") else name


def _given(request: Request, names: dict[str, str]) -> list[tuple[str, str]]:
    found = ((name, getattr(request, member)) for member, name in names.items())
    return [(name, value) for name, value in found if value]
