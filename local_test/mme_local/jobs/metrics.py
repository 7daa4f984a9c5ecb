"""A job's metrics, read from the lines that it writes.

https://docs.aws.amazon.com/sagemaker/latest/dg/define-train-metrics.html
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from mme_local.jobs.errors import JobError

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
# AWS's own definitions for its XGBoost image name each metric; this finds those and the user's.
_ROUND: Final = re.compile(r"\[[0-9]+\].*#011(?:train|validation)-")
_PAIR: Final = re.compile(r"#011(train|validation)-([^\s:#]+):([^\s#]+)")


def escape(line: str) -> str:
    """The line as CloudWatch Logs shows it: SageMaker's log driver makes ``#011`` of a tab."""
    return _CONTROL.sub(lambda found: f"#{ord(found[0]):03o}", line)


class Metrics:
    """Reads values from lines, and keeps the last of each metric.

    Args:
        definitions: names and regular expressions, whose first group is the value; None: those
            that XGBoost's image has by itself, as ``train:rmse`` and ``validation:rmse``.

    Raises:
        JobError: a regular expression is none.
    """

    def __init__(self, definitions: Sequence[tuple[str, str]] | None) -> None:
        self._last: dict[str, tuple[float, float]] = {}
        try:
            self._definitions = None if definitions is None else _compile(definitions)
        except re.error as error:
            raise JobError(
                f"ClientError: a regular expression of MetricDefinitions: {error}"
            ) from error

    def read(self, line: str) -> dict[str, float]:
        """The values in a line, by the metric's name; `escape` has been over the line."""
        found = dict(self._values(line))
        now = time.time()
        self._last |= {name: (value, now) for name, value in found.items()}
        return found

    @property
    def last(self) -> dict[str, float]:
        """The last value of each metric."""
        return {name: value for name, (value, _) in self._last.items()}

    def final(self) -> list[dict[str, Any]]:
        """FinalMetricDataList."""
        return [
            {"MetricName": name, "Value": value, "Timestamp": at}
            for name, (value, at) in sorted(self._last.items())
        ]

    def _values(self, line: str) -> Iterator[tuple[str, float]]:
        for name, text in self._texts(line):
            try:
                value = float(text)
            except (TypeError, ValueError):
                continue
            if math.isfinite(value):
                yield name, value

    def _texts(self, line: str) -> Iterator[tuple[str, str]]:
        if self._definitions is None:
            if _ROUND.search(line):
                yield from ((f"{data}:{name}", text) for data, name, text in _PAIR.findall(line))
            return
        for name, regex in self._definitions:
            if found := regex.search(line):
                yield name, found[1] if regex.groups else found[0]


def _compile(definitions: Sequence[tuple[str, str]]) -> list[tuple[str, re.Pattern[str]]]:
    return [(name, re.compile(regex)) for name, regex in definitions]
