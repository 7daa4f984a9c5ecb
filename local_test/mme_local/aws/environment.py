"""The environment in which an unchanged AWS client finds the local SageMaker, and nothing else.

What a client is told there leads it away from AWS even where its own configuration says otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mme_local.aws.address import Address
from mme_local.settings import ACCOUNT, ADDRESS

ACCESS_KEY: Final = "LOCALSAGEMAKER000000"
"""Of clients that have none; of the length that AWS's have."""
SDK_CONFIGURATION: Final = "sagemaker-sdk.yaml"

_USER_CONFIGURATION: Final = "SAGEMAKER_USER_CONFIG_OVERRIDE"
_ADMIN_CONFIGURATION: Final = "SAGEMAKER_ADMIN_CONFIG_OVERRIDE"
_ENDPOINT: Final = "AWS_ENDPOINT_URL"


def default_bucket(region: str) -> str:
    """The bucket that SageMaker's SDKs use where none is named."""
    return f"sagemaker-{region}-{ACCOUNT}"


def client_environment(address: Address, run: Path, base: Mapping[str, str]) -> dict[str, str]:
    """The environment for a client, made of the one in `base`.

    Credentials and role that `base` has are kept. The region is the local SageMaker's: in another,
    its logs, metrics and bucket would not be found. What configures the ``sagemaker`` SDK is
    written to a file in `run`: the default bucket, which it would otherwise find out by a call to
    a fixed address of AWS, and that it reports nothing.
    """
    kept = {name: value for name, value in base.items() if not name.startswith(_ENDPOINT)}
    region = address.region
    configuration = run / SDK_CONFIGURATION
    configuration.write_text(json.dumps(_sdk_configuration(region), indent=2))  # YAML too
    ours = _ADMIN_CONFIGURATION if base.get(_USER_CONFIGURATION) else _USER_CONFIGURATION
    return {
        **kept,
        **_credentials(base),
        _ENDPOINT: address.aws,
        f"{_ENDPOINT}_SAGEMAKER": address.sagemaker,
        f"{_ENDPOINT}_SAGEMAKER_RUNTIME": address.sagemaker,
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_USE_FIPS_ENDPOINT": "false",
        "AWS_USE_DUALSTACK_ENDPOINT": "false",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_SAGEMAKER_ROLE": base.get("AWS_SAGEMAKER_ROLE") or address.role,
        ours: str(configuration),
        **{name: _without_proxy(base.get(name, "")) for name in ("NO_PROXY", "no_proxy")},
    }


def _credentials(base: Mapping[str, str]) -> dict[str, str]:
    if base.get("AWS_ACCESS_KEY_ID"):
        return {}
    # Not a profile's: to look that up may take a call to AWS.
    return {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": "local"}


def _sdk_configuration(region: str) -> dict[str, Any]:
    return {
        "SchemaVersion": "1.0",
        "SageMaker": {
            "PythonSDK": {
                "Modules": {
                    "Session": {"DefaultS3Bucket": default_bucket(region)},
                    "TelemetryOptOut": True,
                }
            }
        },
    }


def _without_proxy(hosts: str) -> str:
    """The hosts to speak to directly, this machine's among them."""
    listed = [host for host in hosts.split(",") if host.strip()]
    return ",".join([*listed, *(each for each in (ADDRESS, "localhost") if each not in listed)])
