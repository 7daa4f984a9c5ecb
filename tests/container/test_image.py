"""What the image says about itself."""

from __future__ import annotations

from importlib.metadata import version

import pytest

pytestmark = pytest.mark.container

CAPABILITIES = "com.amazonaws.sagemaker.capabilities"
OCI = "org.opencontainers.image"


@pytest.fixture(scope="module")
def config(engine, image):
    return engine.images.get(image).attrs["Config"]


@pytest.mark.parametrize("capability", ["multi-models", "accept-bind-to-port"])
def test_the_labels_that_sagemaker_looks_for(config, capability):
    assert config["Labels"][f"{CAPABILITIES}.{capability}"] == "true"


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("title", "xgboost-mme"),
        ("licenses", "Apache-2.0"),
        ("version", version("xgboost-mme")),
    ],
)
def test_the_labels_of_oci(config, label, value):
    assert config["Labels"][f"{OCI}.{label}"] == value


def test_how_it_starts(config):
    assert config["Entrypoint"] == ["mme"]  # exec form: signals arrive
    assert config["Cmd"] == ["serve"]
    assert "8080/tcp" in config["ExposedPorts"]
    assert config["User"] in ("", "root", "0")  # as SageMaker expects
    assert config.get("StopSignal") in (None, "SIGTERM")


def test_it_holds_the_xgboost_of_these_tests(engine, image):
    code = "from importlib.metadata import version; print(version('xgboost-cpu'))"
    said = engine.containers.run(image, ["-c", code], entrypoint="python3", remove=True)
    assert said.decode().strip() == version("xgboost-cpu")


def test_what_it_does_without(engine, image):
    """No compiler, no package cache, no bytecode left to be made at the start."""
    script = """
        for program in gcc cc g++ make javac git; do command -v $program; done
        find /root/.cache /var/lib/apt/lists -mindepth 1 2>/dev/null
        find / -xdev -name '*.whl' -o -xdev -name '*.pyc' -path '*/tests/*' 2>/dev/null | head
        test -d /opt/mme/lib/python3*/site-packages/mme_handler/__pycache__ || echo no bytecode
    """
    said = engine.containers.run(image, ["-c", script], entrypoint="sh", remove=True)
    assert said.decode() == ""
