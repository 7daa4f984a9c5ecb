"""Predictions in the shapes of AWS's XGBoost image in multi-model mode, for a drop-in move.

JSON is a bare list, ``[1.5, 2.5]``, and CSV one line for all rows, ``1.5,2.5``, without a newline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mme_handler.codecs import application_json, text_csv
from mme_handler.codecs.chunks import number_texts
from mme_handler.codecs.output import Outputs, only_scores


def encode_json(outputs: Outputs) -> bytes:
    """``[1.5, 2.5]``, or a list for each row: ``[[0.1, 0.9], [0.8, 0.2]]``."""
    scores = only_scores(outputs)
    if scores is None:
        return application_json.encode(outputs)
    return b"[" + b",".join(text[1:-1] for text, _ in number_texts(scores)) + b"]"


def encode_csv(outputs: Outputs) -> bytes:
    """``1.5,2.5``, or a list for each row: ``[0.1,0.9],[0.8,0.2]``."""
    if only_scores(outputs) is None:
        return text_csv.encode(outputs)
    return encode_json(outputs)[1:-1].replace(b"null", b"nan")


def encoders(batch: bool) -> Mapping[str, Callable[[Outputs], bytes]]:
    """What to write for which content type; in a `batch` transform CSV has a line for each row."""
    shapes = {"application/json": encode_json}
    return shapes if batch else {**shapes, "text/csv": encode_csv}
