from __future__ import annotations

from pathlib import Path

import pytest

from mme_hosting.errors import HostingError
from mme_hosting.images import checks
from mme_hosting.images.engine import Image, find
from mme_hosting.images.registry import DOCKER_MANIFEST, Manifest
from mme_hosting.images.source_tree import SourceTree
from support.images import FakeEngine, attributes
from support.registries import OCI_INDEX, OCI_MANIFEST

HEAD = "a" * 40


def image(*environment: str, **changes) -> Image:
    found = find(FakeEngine(it=attributes("c", *environment, **changes)), "it")
    assert found is not None
    return found


def test_what_the_engine_says_of_an_image() -> None:
    assert image().variant == "cpu"
    assert image("NVIDIA_VISIBLE_DEVICES=all").variant == "gpu"
    assert image().platform == "linux/amd64"
    assert image(Config={}).labels == {}
    assert find(FakeEngine(), "it") is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Architecture": "arm64"},
        {"Descriptor": {"mediaType": DOCKER_MANIFEST}},
    ],
)
def test_images_that_sagemaker_takes(changes) -> None:
    checks.check_image(image(**changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Labels": {checks.MULTI_MODELS: None}}, "CreateModel refuses it .*: build it with make"),
        ({"Labels": {checks.MULTI_MODELS: "false"}}, "not have the label .*multi-models=true"),
        ({"Labels": {checks.BIND_TO_PORT: None}}, "not start in an inference pipeline"),
        ({"Architecture": "ppc64le"}, "is for linux/ppc64le, .*linux/amd64 or linux/arm64"),
        ({"Os": "windows"}, "is for windows/amd64"),
        ({"Descriptor": {"mediaType": OCI_INDEX}}, f"of the type {OCI_INDEX}, which CreateModel"),
    ],
)
def test_images_that_it_refuses(changes, reason) -> None:
    with pytest.raises(HostingError, match=f"^the image it .*{reason}".replace("+", "[+]")):
        checks.check_image(image(**changes))


@pytest.mark.parametrize("media_type", [OCI_INDEX, OCI_MANIFEST, ""])
def test_manifests_that_it_refuses(media_type) -> None:
    with pytest.raises(HostingError, match=r"^host/name:tag has a manifest of the type"):
        checks.check_manifest(Manifest("sha256:0", media_type, None), "host/name:tag")


def test_the_manifest_that_it_takes() -> None:
    checks.check_manifest(Manifest("sha256:0", DOCKER_MANIFEST, None), "host/name:tag")


@pytest.mark.parametrize(
    ("tree", "revision", "note"),
    [
        (None, "b" * 40, None),
        (SourceTree(Path("/src"), HEAD, ()), HEAD, None),
        (SourceTree(Path("/src"), HEAD, ()), "b" * 40, "from the commit bbbbbbbbbbbb, and HEAD is"),
        (SourceTree(Path("/src"), HEAD, ()), None, "does not say which commit"),
    ],
)
def test_an_image_of_another_commit_is_noted(tree, revision, note) -> None:
    built = image(Labels={checks.REVISION: revision})
    for allowed in (False, True):
        notes = checks.check_tree(tree, [built], allowed)
        assert len(notes) == (note is not None)
        assert note is None or note in notes[0]


@pytest.mark.parametrize(
    ("tree", "revision", "reason"),
    [
        (SourceTree(Path("/src"), HEAD, ("a", "b")), HEAD, "/src has changes .*holds: a, b[.]"),
        (SourceTree(Path("/src"), HEAD, tuple("abcdef")), HEAD, "a, b, c, d, e and 1 more[.]"),
        (None, f"{HEAD}-dirty", "the image it was built from a tree with changes"),
    ],
)
def test_changes_are_refused_unless_told(tree, revision, reason) -> None:
    built = image(Labels={checks.REVISION: revision})
    with pytest.raises(HostingError, match=f"{reason}.*or say --allow-dirty$"):
        checks.check_tree(tree, [built], allow_dirty=False)
    assert len(checks.check_tree(tree, [built], allow_dirty=True)) == 1
