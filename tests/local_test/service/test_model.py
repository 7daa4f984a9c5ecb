from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mme_local.service.model import RUNTIME, SAGEMAKER, error_shape, operation, pattern

BUILT = {
    SAGEMAKER: [
        *(f"{verb}{noun}" for verb in ("Create", "Describe", "Delete") for noun in ("Model",)),
        "CreateEndpointConfig",
        "CreateEndpoint",
        "UpdateEndpoint",
        "UpdateEndpointWeightsAndCapacities",
        "CreateTrainingJob",
        "ListModels",
        "ListTrainingJobs",
        "AddTags",
        "DeleteTags",
    ],
    RUNTIME: ["InvokeEndpoint"],
}


def shapes_below(shape: Any) -> Iterator[Any]:
    yield shape
    inner = {"structure": lambda: shape.members.values(), "list": lambda: [shape.member]}
    inner["map"] = lambda: [shape.key, shape.value]
    for member in inner.get(shape.type_name, list)():
        yield from shapes_below(member)


@pytest.mark.parametrize(
    ("service_name", "name"), [(key, name) for key, names in BUILT.items() for name in names]
)
def test_every_pattern_that_requests_are_held_against_is_understood(
    service_name: str, name: str
) -> None:
    for shape in shapes_below(operation(service_name, name).input_shape):
        if "pattern" in shape.metadata:
            pattern(shape.metadata["pattern"])


@pytest.mark.parametrize(
    ("java", "matches", "does_not"),
    [
        (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", ["", "größe 1", "日本", "a/b=c"], ["a;b", "a\nb", "a#"]),
        (r"\p{ASCII}*", ["plain"], ["größe"]),
        (r"\A\S[\p{Print}]*\z", ["a b", "ä b"], ["", " a", "a\n", "a\x00"]),
        (r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", ["a", "a-b"], ["a_b", "-a", "a-", "a\n"]),
    ],
)
def test_patterns_of_java_mean_the_same_here(
    java: str, matches: list[str], does_not: list[str]
) -> None:
    for text in matches:
        assert pattern(java).fullmatch(text), text
    for text in does_not:
        assert not pattern(java).fullmatch(text), text


def test_a_long_name_that_does_not_match_is_refused_at_once() -> None:
    assert not pattern(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}").fullmatch("a-" * 50_000)


def test_errors_are_found_by_name() -> None:
    assert error_shape(RUNTIME, "ModelError").metadata["error"]["httpStatusCode"] == 424
    assert error_shape(SAGEMAKER, "ResourceInUse") is not None
    assert error_shape(SAGEMAKER, "AccessDeniedException") is None
    assert error_shape(SAGEMAKER, "Tag") is None
