"""Where things are below the directory that the models go to.

==========================  ========================================================
``manifest.parquet``        a row for each model: `mme_training.many.manifest`
``predictions.parquet``     a row for each row that judged a model
``archives/<name>.tar.gz``  the models
``journal.jsonl``           a line for each segment done, in the order they were done
``evaluations/``            what the tables are made of; needed to go on after an end
``.scratch/``, ``.lock``    of the run under way
==========================  ========================================================
"""

from __future__ import annotations

from pathlib import Path


def archive_file(out: Path, name: str) -> Path:
    """The archive of the segment `name`; its directory is made."""
    directory = out / "archives"
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{name}.tar.gz"


def evaluation_file(out: Path, fingerprint: str) -> Path:
    """What is known of the model with this fingerprint besides its record."""
    directory = out / "evaluations"
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{fingerprint}.arrow"


def scratch_directory(out: Path) -> Path:
    """A directory for files that nobody needs after the run; it is made."""
    directory = out / ".scratch"
    directory.mkdir(parents=True, exist_ok=True)
    return directory
