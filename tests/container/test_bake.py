"""What container/docker-bake.hcl builds, by a real buildx."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from pathlib import Path

import pytest
from docker.errors import ImageNotFound

from mme_hosting.images.checks import check_image
from mme_hosting.images.engine import find
from mme_hosting.images.plan import make_plan
from mme_hosting.images.push import push
from mme_hosting.images.registry import DOCKER_MANIFEST
from mme_hosting.images.target import in_registry
from support.images import LABELS
from support.registries import docker_registry

BUILDX = shutil.which("docker-buildx")
ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.container,
    pytest.mark.skipif(not BUILDX, reason="no docker-buildx: .ci/install-buildx gets it"),
]


def bake(*arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [str(BUILDX), "bake", "-f", "container/docker-bake.hcl", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_both_targets_are_what_sagemaker_takes():
    given = {"IMAGE": "name", "BASE_IMAGE": "base", "REVISION": "abc", "VERSION": "1.2.3"}
    plan = json.loads(bake("--print", **given))
    assert plan["group"]["default"]["targets"] == ["cpu", "gpu"]
    assert set(plan["target"]) == {"cpu", "gpu"}
    for variant, target in plan["target"].items():
        assert (ROOT / target["dockerfile"]).is_file()
        assert (target["context"], target["target"]) == (".", variant)
        assert target["tags"] == [f"name:{variant}"]
        assert target["platforms"] == ["linux/amd64"]
        assert target["args"] == {"BASE_IMAGE": "base", "REVISION": "abc", "VERSION": "1.2.3"}
        assert target["output"] == ["type=docker,oci-mediatypes=false"]
        assert sorted(target["attest"]) == [
            "type=provenance,disabled=true",
            "type=sbom,disabled=true",
        ]


def test_what_it_builds_is_one_manifest_of_dockers_type(engine, tmp_path):
    """The settings of the bake file, with a Dockerfile of a moment."""
    name = f"mme-bake-test-{secrets.token_hex(4)}"
    labels = " ".join(f"{key}={value}" for key, value in LABELS.items())
    lines = ("FROM scratch AS cpu", "COPY Dockerfile /", "ARG VERSION", f"LABEL {labels}")
    gpu = ("FROM cpu AS gpu", "ENV NVIDIA_VISIBLE_DEVICES=all")
    (tmp_path / "Dockerfile").write_text("\n".join((*lines, *gpu, "")))
    tags = [f"{name}:cpu", f"{name}:gpu"]
    made = list(tags)
    try:
        bake(
            *("--set", f"*.context={tmp_path}", "--set", f"*.dockerfile={tmp_path}/Dockerfile"),
            IMAGE=name,
        )
        for tag in tags:
            image = find(engine, tag)
            assert image is not None
            check_image(image)
        with docker_registry(tmp_path) as host:
            target = in_registry(host, name)
            plan = make_plan(engine, target, names=tags, directory=tmp_path)
            made += [f"{target}:{step.tag}" for step in plan.steps]
            assert [each.variant for each in push(plan, engine)] == ["cpu", "gpu"]
            for step in plan.steps:
                found = target.registry.manifest(name, step.tag)
                assert found is not None
                assert found.media_type == DOCKER_MANIFEST
                assert found.config == step.image.id
    finally:
        for each in made:
            try:
                engine.images.remove(each)
            except ImageNotFound:
                continue
