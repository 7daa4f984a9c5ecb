from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from mme_cli.houses import houses

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(houses)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(given) for given in arguments], env={"NO_COLOR": "1"})


def test_csv_for_ten_cities(tmp_path: Path):
    result = run(tmp_path, "--rows", 10)

    assert result.exit_code == 0
    assert result.output == f"{tmp_path}: 10 houses in each of 10 cities\n"
    assert len(list(tmp_path.glob("*/*/*.csv"))) == 30


def test_parquet(tmp_path: Path):
    result = run(tmp_path, "--format", "parquet", "--cities", 2, "--rows", 1000, "--seed", 1)

    assert result.output == f"{tmp_path}/houses.parquet: 1,000 houses in each of 2 cities\n"
    assert [path.name for path in tmp_path.iterdir()] == ["houses.parquet"]


def test_what_cannot_be_written_is_explained(tmp_path: Path):
    (tmp_path / "file").touch()
    result = run(tmp_path / "file")

    assert result.exit_code == 2
    assert result.output.startswith("mme: the houses cannot be written to ")


@pytest.mark.parametrize(
    "arguments", [("--cities", 0), ("--rows", 2), ("--seed", -1), ("--format", "orc")]
)
def test_impossible_options(tmp_path: Path, arguments: tuple[object, ...]):
    assert run(tmp_path, *arguments).exit_code == 2
    assert list(tmp_path.iterdir()) == []
