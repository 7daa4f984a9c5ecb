from __future__ import annotations

from pathlib import Path

import pytest

from mme_hosting.errors import HostingError
from mme_hosting.images import checks
from mme_hosting.images.ecr import Repository
from mme_hosting.images.plan import Plan, make_plan
from mme_hosting.images.registry import DOCKER_MANIFEST, Manifest, Registry
from mme_hosting.images.target import Target
from support.images import FakeEngine, attributes, digest
from support.registries import OCI_INDEX, OCI_MANIFEST
from support.trees import make_tree

GPU = "NVIDIA_VISIBLE_DEVICES=all"


class Known(Registry):
    """A registry in which these tags are."""

    def __init__(self, **tags: Manifest) -> None:
        super().__init__("127.0.0.1:5000")
        self.tags = tags

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        assert repository == "name"
        return self.tags.get(reference)


def engine() -> FakeEngine:
    images = {"xgboost-mme_cpu": attributes("c"), "xgboost-mme_gpu": attributes("d", GPU)}
    return FakeEngine(**images)


def plan(docker: FakeEngine | None = None, directory: Path = Path("/nowhere"), **options) -> Plan:
    target = options.pop("target", Target(Known(), "name"))
    return make_plan(docker or engine(), target, directory=directory, **options)


def shown(made: Plan) -> list[tuple[str, str, str]]:
    return [(step.image.name, step.tag, step.action) for step in made.steps]


def test_both_variants_by_the_version_that_they_say() -> None:
    made = plan()
    assert shown(made) == [
        ("xgboost-mme:cpu", "1.2.3-cpu", "push"),
        ("xgboost-mme:gpu", "1.2.3-gpu", "push"),
    ]
    assert (made.missing, made.notes) == ((), ())


def test_a_tag_of_ones_own() -> None:
    assert [step.tag for step in plan(tag="test").steps] == ["test-cpu", "test-gpu"]


def test_a_variant_that_is_not_built_is_said() -> None:
    docker = engine()
    del docker.known["xgboost-mme_gpu"]
    made = plan(docker)
    assert shown(made) == [("xgboost-mme:cpu", "1.2.3-cpu", "push")]
    assert made.missing == ("xgboost-mme:gpu",)


def test_images_that_are_named() -> None:
    docker = FakeEngine(mine_1=attributes("e"))
    assert shown(plan(docker, names=["mine:1"])) == [("mine:1", "1.2.3-cpu", "push")]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"docker": FakeEngine()}, "not built: .*gpu: run make image or make image-gpu"),
        ({"names": ["xgboost-mme:cpu", "other:1"]}, "not built: other:1: `docker images` lists"),
        ({"tag": "a/b"}, "'a/b-cpu' cannot be a tag"),
        ({"tag": "a" * 125}, "cannot be a tag"),
        (
            {
                "docker": FakeEngine(a_1=attributes(), b_1=attributes()),
                "names": ["a:1", "b:1"],
            },
            "two images would both be 1.2.3-cpu: push one at a time",
        ),
        (
            {
                "docker": FakeEngine(a_1=attributes(Labels={checks.VERSION: None})),
                "names": ["a:1"],
            },
            "the image a:1 does not say its version: give a --tag",
        ),
        (
            {
                "docker": FakeEngine(a_1=attributes(Labels={checks.MULTI_MODELS: None})),
                "names": ["a:1"],
            },
            "the image a:1 does not have the label",
        ),
    ],
)
def test_what_cannot_be_planned(options, reason) -> None:
    with pytest.raises(HostingError, match=reason):
        plan(**options)


@pytest.mark.parametrize(
    ("found", "action"),
    [
        (Manifest(digest("1"), DOCKER_MANIFEST, digest("c")), "present"),
        (Manifest(digest("c"), DOCKER_MANIFEST, digest("0")), "present"),  # containerd's store
        (Manifest(digest("1"), DOCKER_MANIFEST, digest("0")), "replace"),
        (Manifest(digest("1"), OCI_MANIFEST, digest("c")), "replace"),
        (Manifest(digest("1"), OCI_INDEX, None), "replace"),
    ],
)
def test_what_is_there_already(found, action) -> None:
    target = Target(Known(**{"1.2.3-cpu": found}), "name")
    assert [step.action for step in plan(target=target).steps] == [action, "push"]


def immutable(found: Manifest) -> Target:
    known = Repository("name", immutable=True)
    return Target(Known(**{"1.2.3-cpu": found}), "name", None, known)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (Manifest(digest("1"), DOCKER_MANIFEST, digest("0")), "is another image"),
        (Manifest(digest("1"), OCI_MANIFEST, digest("c")), f"is of the type {OCI_MANIFEST}"),
    ],
)
def test_tags_that_cannot_be_moved(found, reason) -> None:
    with pytest.raises(HostingError) as refusal:
        plan(target=immutable(found))
    said = str(refusal.value)
    assert said.startswith(f"127.0.0.1:5000/name:1.2.3-cpu exists and {reason}, and the repo")
    assert said.endswith("raise the version and build again, or give another --tag")


def test_a_tag_that_cannot_be_moved_and_need_not_be() -> None:
    made = plan(target=immutable(Manifest(digest("1"), DOCKER_MANIFEST, digest("c"))))
    assert [step.action for step in made.steps] == ["present", "push"]


def test_a_tree_with_changes_stops_it_unless_told(tmp_path) -> None:
    revision = make_tree(tmp_path)
    (tmp_path / "new").touch()
    built = attributes(Labels={checks.REVISION: revision})
    docker = FakeEngine(**{"xgboost-mme_cpu": built})
    with pytest.raises(HostingError, match="has changes that no commit holds: new"):
        plan(docker, tmp_path)
    assert "holds: new" in plan(docker, tmp_path, allow_dirty=True).notes[0]


def test_an_older_image_is_noted(tmp_path) -> None:
    make_tree(tmp_path)
    assert len(plan(directory=tmp_path).notes) == 2
