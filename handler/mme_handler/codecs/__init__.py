"""Bodies in, feature matrices out; predictions in, bodies out: one module per content type.

To add a content type, write a module that calls `registry.register` and import it below.
"""

from mme_handler.codecs import application_json, text_csv  # imported to register themselves
from mme_handler.codecs.registry import Codec, Encoded, choose_accept, decode, encode, register

__all__ = [
    "Codec",
    "Encoded",
    "application_json",
    "choose_accept",
    "decode",
    "encode",
    "register",
    "text_csv",
]
