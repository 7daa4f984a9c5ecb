"""`mme houses`: synthetic data to train on."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from mme_cli.failure import fail


class Format(enum.StrEnum):
    """How the houses are laid out."""

    CSV = "csv"
    PARQUET = "parquet"


def houses(
    out: Annotated[str, typer.Argument(help="Directory, or s3://bucket/prefix")],
    cities: Annotated[int, typer.Option(min=1, help="How many cities")] = 10,
    rows: Annotated[int, typer.Option(min=3, help="Houses in each city")] = 1000,
    format: Annotated[
        Format,
        typer.Option(
            help="csv: channels of a training job for each city, split into train, validation and "
            "test; parquet: one table of all, not split"
        ),
    ] = Format.CSV,
    seed: Annotated[int, typer.Option(min=0, help="Other houses for another seed")] = 2019,
) -> None:
    """Make synthetic houses with their prices, as files to train on.

    csv writes OUT/CITY/train/train.csv, OUT/CITY/validation/validation.csv and
    OUT/CITY/test/test.csv, the price first; parquet writes OUT/houses.parquet with a column city.
    """
    from mme_training.errors import UserError
    from mme_training.house_files import city_names, write_channels, write_table

    write = write_channels if format is Format.CSV else write_table
    try:
        place = write(out, city_names(cities), rows, seed)
    except UserError as error:
        fail(str(error))
    typer.echo(f"{place}: {rows:,} houses in each of {cities:,} cities")
