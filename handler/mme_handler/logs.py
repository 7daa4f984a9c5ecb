"""Structured logs on standard error: text on a terminal, one JSON object a line otherwise.

A line names its model by ``model`` (the id in ``POST /models``), by ``target_model`` when the
request says it (``X-Amzn-SageMaker-Target-Model``), and the request by ``request_id``.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

LOG_FORMATS = ("text", "json")


def wants_json(log_format: str | None) -> bool:
    """Whether lines are JSON: what is asked for, or what fits standard error."""
    return log_format == "json" if log_format else not sys.stderr.isatty()


def configure(*, json_lines: bool) -> None:
    """Send this process's log lines to standard error, from ``info`` up."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if json_lines
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if json_lines:
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> Any:
    """A logger whose lines carry `name` without the package's own prefix."""
    return structlog.get_logger(component=name.removeprefix("mme_handler."))
