"""What the code of a model prints and logs, as log lines that name the model.

``print`` becomes ``printed`` lines and ``logging`` becomes ``logged`` ones, while the block of
`to_log` runs. What is written to the descriptors 1 and 2 past Python stays as it is.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final, TextIO

from mme_handler.logs import get_logger

_LONGEST_LINE: Final = 8192


@contextlib.contextmanager
def to_log(model: str) -> Iterator[None]:
    """Send what this process prints and logs to the log, in the name of `model`."""
    log = get_logger(__name__).bind(model=model)
    out, err = sys.stdout, sys.stderr
    streams = (LoggedStream("stdout", out, log), LoggedStream("stderr", err, log))
    handler, root = _LogHandler(log), logging.getLogger()
    level = root.level
    sys.stdout, sys.stderr = streams
    root.addHandler(handler)
    root.setLevel(logging.INFO)  # as in MMS
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err
        root.removeHandler(handler)
        root.setLevel(level)
        for stream in streams:
            stream.finish()


def finish() -> None:
    """Log what has been printed without the end of a line yet."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, LoggedStream):
            stream.finish()


class LoggedStream(io.TextIOBase):
    """A text stream that logs each line once it is complete.

    Args:
        name: ``stdout`` or ``stderr``.
        original: the stream it stands for; its descriptor and its bytes go on to be available.
        log: the logger, with the model bound to it.
    """

    def __init__(self, name: str, original: TextIO, log: Any) -> None:
        self._name = name
        self._original = original
        self._log = log
        self._pending = ""
        self._dropped = 0
        self._begin()
        # Another thread may be in `write` when the model's code forks.
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._logging = False

    @property
    def name(self) -> str:
        """As Python's own stream has it."""
        return f"<{self._name}>"

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """What `buffer` is to be written in."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """How text that cannot be encoded is written."""
        return "backslashreplace"

    @property
    def buffer(self) -> Any:
        """The bytes below: they go past the log."""
        return self._original.buffer

    def fileno(self) -> int:
        """The descriptor below: what is written to it goes past the log."""
        return self._original.fileno()

    def writable(self) -> bool:
        """It is."""
        return True

    def reconfigure(self, **_: Any) -> None:
        """Nothing: its lines are always buffered."""

    def write(self, text: str) -> int:
        """Log the lines that `text` completes, and keep the rest."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            if self._logging:  # the logger itself, or a signal handler amid it
                return self._original.write(text)
            *lines, rest = text.split("\n")
            for line in lines:
                self._keep(line)
                self._emit()
            self._keep(rest)
        return len(text)

    def flush(self) -> None:
        """Nothing: a line that is not complete waits for its end."""

    def close(self) -> None:
        """Nothing: the process ends with its streams open."""

    def finish(self) -> None:
        """Log the last line even if it has no end."""
        with self._lock:
            self._emit()

    def _keep(self, text: str) -> None:
        # A progress bar writes its line again and again: the last one counts.
        _, again, last = text.rstrip("\r").rpartition("\r")
        if again:
            self._pending, self._dropped = "", 0
        room = _LONGEST_LINE - len(self._pending)
        self._pending += last[:room]
        self._dropped += max(len(last) - room, 0)

    def _emit(self) -> None:
        line, dropped = self._pending, self._dropped
        self._pending, self._dropped = "", 0
        if not line.strip():
            return
        self._logging = True
        try:
            self._log.info("printed", stream=self._name, text=_shorten(line, dropped))
        finally:
            self._logging = False


class _LogHandler(logging.Handler):
    """Hands the records of `logging` to the log."""

    def __init__(self, log: Any) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record, at its level."""
        try:
            message = record.getMessage()
        except Exception:
            self.handleError(record)
            return
        method = getattr(self._log, _level(record.levelno))
        text = _shorten(message[:_LONGEST_LINE], len(message) - _LONGEST_LINE)
        method("logged", logger=record.name, text=text, exc_info=record.exc_info or None)


def _level(number: int) -> str:
    known = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO)
    return logging.getLevelName(next((n for n in known if number >= n), logging.DEBUG)).lower()


def _shorten(text: str, dropped: int) -> str:
    return f"{text}… ({dropped:,} more characters)" if dropped > 0 else text
