"""Bodies in, feature matrices out; predictions in, bodies out: one module per content type.

To add a content type, write a module that calls `registry.register` and import it below.
"""

from mme_handler.codecs import (  # imported to register themselves
    application_json,
    application_jsonlines,
    application_npy,
    arrow,
    parquet,
    recordio_protobuf,
    text_csv,
    text_libsvm,
)
from mme_handler.codecs.output import Output, Outputs
from mme_handler.codecs.registry import (
    Codec,
    Encoded,
    choose_accept,
    decode,
    encode,
    expands,
    register,
)
from mme_handler.codecs.schema import Schema

__all__ = [
    "Codec",
    "Encoded",
    "Output",
    "Outputs",
    "Schema",
    "application_json",
    "application_jsonlines",
    "application_npy",
    "arrow",
    "choose_accept",
    "decode",
    "encode",
    "expands",
    "parquet",
    "recordio_protobuf",
    "register",
    "text_csv",
    "text_libsvm",
]
