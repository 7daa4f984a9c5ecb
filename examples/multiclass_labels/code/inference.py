"""Answers with the names of the classes, in JSON and CSV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mme_handler import output_fn as default_output_fn
from mme_handler.codecs import choose_accept

NAMES = json.loads(Path(__file__).with_name("labels.json").read_text())


def output_fn(prediction: Any, accept: str) -> Any:
    """Write the likeliest class by name; types other than JSON and CSV get the probabilities."""
    labels = [NAMES[index] for index in prediction.argmax(axis=1)]
    content_type = choose_accept(accept)  # 406 if it is none that can be written
    if content_type == "text/csv":
        return "".join(f"{label}\n" for label in labels), content_type
    if content_type != "application/json":
        return default_output_fn(prediction, accept)
    answers = [
        {"label": label, "probabilities": dict(zip(NAMES, row, strict=True))}
        for label, row in zip(labels, prediction.tolist(), strict=True)
    ]
    return json.dumps({"predictions": answers}), content_type
