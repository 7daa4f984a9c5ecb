import re
from pathlib import Path

from mme_training.hyperparameters import retired
from mme_training.hyperparameters.page import page
from mme_training.hyperparameters.table import ALIASES, OBJECTIVES, PARAMETERS
from mme_training.metrics import METRICS

COMMITTED = Path(__file__).parents[3] / "docs" / "hyperparameters.md"


def test_the_committed_page_is_the_tables():
    assert COMMITTED.read_text() == page(), (
        "run: python -m mme_training.hyperparameters.page > docs/hyperparameters.md"
    )


def test_it_names_everything():
    text = page()
    for name in (*PARAMETERS, *ALIASES, *OBJECTIVES, *METRICS, *retired.NAMES):
        assert f"`{name}`" in text


def test_every_row_has_as_many_cells_as_its_heads():
    tables = re.findall(r"(?:^\|.*\|\n)+", page(), re.MULTILINE)
    assert len(tables) > 10
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_links_lead_to_headings():
    text = page()
    anchors = {
        heading.lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= anchors
