"""Bodies in, feature matrices out; predictions in, bodies out: one module per content type.

To add a content type, write a module that calls `registry.register` and import it below.
"""

from mme_handler.codecs import application_json, text_csv  # imported to register themselves
from mme_handler.codecs.output import Output, Outputs
from mme_handler.codecs.registry import Codec, Encoded, choose_accept, decode, encode, register
from mme_handler.codecs.schema import Schema

__all__ = [
    "Codec",
    "Encoded",
    "Output",
    "Outputs",
    "Schema",
    "application_json",
    "choose_accept",
    "decode",
    "encode",
    "register",
    "text_csv",
]
