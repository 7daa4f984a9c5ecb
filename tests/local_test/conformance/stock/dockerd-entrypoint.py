"""Starts multi-model-server by the inference toolkit, as AWS's documentation says."""

from __future__ import annotations

import subprocess
import sys

from retrying import retry
from sagemaker_inference import model_server

HANDLER = "/home/model-server/model_handler.py:handle"


@retry(
    stop_max_delay=50_000,
    retry_on_exception=lambda error: isinstance(error, subprocess.CalledProcessError),
)
def start() -> None:
    """Start the server; the toolkit tries again until multi-model-server has come up."""
    model_server.start_model_server(handler_service=HANDLER)


if sys.argv[1:] == ["serve"]:
    start()
else:
    subprocess.check_call(sys.argv[1:])
# The toolkit has returned: without a process in front, the container would end.
subprocess.call(["tail", "-f", "/dev/null"])
