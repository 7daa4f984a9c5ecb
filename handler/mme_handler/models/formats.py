"""What a model file is, told by its first bytes.

Imports nothing heavy and never opens a file; must not know XGBoost's API.
"""

from __future__ import annotations

import re
from typing import Literal

from mme_handler.errors import ModelLoadError

Format = Literal["ubj", "json", "pickle"]

HEAD_BYTES = 512
"""As many first bytes of a file tell every format."""

PICKLE_HEAD_BYTES = 16
"""As many first bytes of a file tell a pickle."""

RE_SAVE = "save it with XGBoost's `Booster.save_model('model.ubj')`"

# The last is zlib, by which joblib compresses.
_PICKLE = re.compile(
    rb"\x80[\x02-\x05]|c(copy_reg|xgboost|__builtin__)|\(?[cli]xgboost|x[\x01\x5e\x9c\xda]"
)

# How a file that is no model begins, and what it is.
_FOREIGN: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), what)
    for pattern, what in (
        (
            _PICKLE.pattern,
            "is a Python pickle (or joblib) file, which can run any code when it is opened: "
            f"{RE_SAVE}; or, if you trust whoever made it, allow pickles with "
            "MME_ALLOW_PICKLE=true, and it is loaded in a process of its own",
        ),
        (
            rb"binf|CONFIG-offset:|.{136}[\x01-\x3f]\0{7}[a-z]+:[a-z]|.{16,400}gb(tree|linear)",
            "is in XGBoost's old binary format, which XGBoost 1.0 to 3.0 can read and 3.1 and "
            "later cannot: convert it with `mme convert OLD NEW --xgboost 3.0.5`",
        ),
        (rb"\x1f\x8b", "is compressed with gzip: unpack it and deploy the model file inside"),
        (rb"PK\x03\x04", "is a zip archive: unpack it and deploy the model file inside"),
        (
            rb"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|.{257}ustar",
            "is compressed or archived: unpack it and deploy the model file inside",
        ),
        (
            rb"booster\[\d|\s*\[\s*\{\s*\"nodeid",
            f"is the text of `dump_model`, which cannot be loaded: {RE_SAVE}",
        ),
    )
)


def is_pickle(head: bytes) -> bool:
    """Whether a file that begins with `head` is a Python pickle, or a joblib file."""
    return _PICKLE.match(head) is not None


def format_of(name: str, head: bytes, allow_pickle: bool = False) -> Format:
    """Return the format of the file called `name` that begins with `head`.

    Raises:
        ModelLoadError: it holds no XGBoost model, or a pickle that is not allowed; the message
            says what it is and what to do.
    """
    if head.startswith(b"{L"):
        return "ubj"
    if re.match(rb'\s*\{\s*"', head):
        return "json"
    if allow_pickle and is_pickle(head):
        return "pickle"
    for pattern, what in _FOREIGN:
        if pattern.match(head):
            raise ModelLoadError(f"The model file {name!r} {what}.")
    raise ModelLoadError(
        f"The model file {name!r} is not an XGBoost model in UBJSON or JSON format: {RE_SAVE}."
    )


def damaged(name: str, why: str) -> ModelLoadError:
    """Return the error for a model file whose content is at fault."""
    return ModelLoadError(
        f"The model file {name!r} cannot be loaded: {why.rstrip('.')}. "
        f"Upload it again, or {RE_SAVE}."
    )
