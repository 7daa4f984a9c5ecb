from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from mme_cli.report import report
from mme_training.house_files import city_names, write_table
from mme_training.houses import HYPERPARAMETERS
from mme_training.many.local import LocalEngine
from mme_training.many.run import train_many

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(report)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    table = Path(write_table(str(out), city_names(10), 20))
    train_many(table, "city", "PRICE", out, LocalEngine(workers=1), dict(HYPERPARAMETERS))
    return out


def run(out: Path) -> Result:
    return CliRunner().invoke(app, [str(out)], env={"NO_COLOR": "1"})


def test_the_page_and_where_it_is(out: Path):
    result = run(out)

    assert result.exit_code == 0
    assert result.output == f"{out}/report.html\n"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert all(city in page for city in city_names(10))


def test_nothing_was_trained_there(tmp_path: Path):
    result = run(tmp_path)

    assert result.exit_code == 2
    assert result.output.startswith("mme: there is no manifest.parquet in ")


def test_the_page_cannot_be_written(out: Path, tmp_path: Path):
    (tmp_path / "manifest.parquet").write_bytes((out / "manifest.parquet").read_bytes())
    (tmp_path / "report.html").mkdir()
    result = run(tmp_path)

    assert result.exit_code == 2
    assert result.output.startswith("mme: ")
    assert "report.html" in result.output
