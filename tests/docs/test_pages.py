"""docs/handler.md and docs/training.md say what there is, and a test backs each row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mme_handler import codecs
from mme_handler.models import outputs
from mme_handler.models.settings import ModelSettings
from mme_handler.settings import Settings
from mme_handler.user_code import HOOKS

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / "docs" / name).read_text() for name in ("handler.md", "training.md")}
TEXT = PAGES["handler.md"]
HOSTING = ("hosting.md", "fit.md", "infrastructure.md")
PAGES_WITH_LINKS = (
    *("handler.md", "migrating.md", "training.md"),
    *("local-sagemaker.md", "image.md", "gpu.md", "conformance.md"),
    *HOSTING,
    "tutorial.md",
)
VARIABLES = {
    name
    for field in Settings.model_fields.values()
    for name in field.validation_alias.choices  # type: ignore[union-attr]
}


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables(text: str) -> Iterator[list[list[str]]]:
    """The rows of each table, the first of them its head."""
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, rule, *rows = map(cells_of, block.splitlines())
        assert all(re.fullmatch("-+", cell) for cell in rule), rule
        yield [head, *rows]


ROWS = {
    name: [(table[0], row) for table in tables(text) for row in table[1:]]
    for name, text in PAGES.items()
}


def named_tests() -> set[str]:
    pages = ("local-sagemaker.md", "tutorial.md", *HOSTING)
    texts = "".join((ROOT / "docs" / page).read_text() for page in pages)
    return {
        name
        for rows in ROWS.values()
        for _, row in rows
        for name in re.findall(r"`([^`]+)`", row[-1])
    } | set(re.findall(r"`(test_\w+::test_\w+)`", texts))


@pytest.mark.parametrize(("page", "least"), [("handler.md", 100), ("training.md", 50)])
def test_every_table_ends_with_a_column_of_tests(page, least):
    assert len(ROWS[page]) > least
    for head, row in ROWS[page]:
        assert head[-1] == "test", head
        assert len(row) == len(head), row
        names = row[-1].split(", ")
        assert all(re.fullmatch(r"`test_\w+::test_\w+`", name) for name in names), row


@pytest.mark.parametrize("name", sorted(named_tests()))
def test_every_test_that_is_named_exists(name):
    module, function = name.split("::")
    files = list((ROOT / "tests").rglob(f"{module}.py"))
    assert any(
        re.search(rf"^(async )?def {function}\(", f.read_text(), re.MULTILINE) for f in files
    )


def first_cells(head: str, text: str = TEXT) -> set[str]:
    """What stands as code in the first column of the tables whose head begins so."""
    return {
        name
        for table in tables(text)
        if table[0][0] == head
        for row in table[1:]
        for name in re.findall(r"`([^`]+)`", row[0])
    }


def test_every_content_type_is_there():
    registered = set(codecs.registry._codecs.values())
    assert first_cells("Content type") == {codec.content_type for codec in registered}
    for codec in registered:
        for name in codec.aliases:
            assert f"`{name}`" in TEXT
    answers = next(table for table in tables(TEXT) if table[0][1] == "Prediction")
    written = {codec.content_type for codec in registered if codec.encode}
    assert {row[0].strip("`") for row in answers[1:]} == written


def test_every_output_is_there():
    assert first_cells("Output") == set(outputs._KNOWN)


def test_every_key_of_a_models_settings_is_there():
    assert first_cells("Key") == set(ModelSettings.model_fields)


def test_every_hook_is_there_with_its_arguments():
    expected = {f"{name}({', '.join(arguments)})" for name, arguments in HOOKS.items()}
    assert first_cells("Function") == expected


@pytest.mark.parametrize("page", ["handler.md", "migrating.md"])
def test_every_variable_that_is_named_exists(page):
    text = (ROOT / "docs" / page).read_text()
    named = set(re.findall(r"\b(?:MME|SAGEMAKER)_[A-Z_]+\b", text))
    theirs = first_cells("Theirs", text)
    assert theirs.isdisjoint(VARIABLES)
    named -= theirs
    assert named
    assert named <= VARIABLES


def test_the_links_lead_somewhere():
    for page in PAGES_WITH_LINKS:
        text = (ROOT / "docs" / page).read_text()
        for file, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", text):
            if file.startswith("http"):
                continue
            target = (ROOT / "docs" / (file or page)).resolve()
            assert target.exists(), file
            if target.suffix != ".md":
                continue
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
            assert not anchor or anchor in slugs, anchor
