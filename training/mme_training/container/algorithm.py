"""Algorithm mode: the container trains, as the hyperparameters say."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import xgboost as xgb

from mme_handler.models.device import resolve
from mme_training.container.checkpoints import SaveCheckpoint, SaveSoFar, load_last, save
from mme_training.container.config import TRAIN, VALIDATION, Config, check_channels
from mme_training.container.environment import gpus, output_data_host
from mme_training.container.folds import PREDICTIONS, fit_folds
from mme_training.container.hooks import Reader, explained, functions, load_hooks
from mme_training.container.layout import Layout
from mme_training.container.user_code import UserCode
from mme_training.data.agree import agree
from mme_training.data.dataset import Dataset, concatenate
from mme_training.data.overlap import warn_of_overlap
from mme_training.device import check_device
from mme_training.distributed.job import Cluster, Job
from mme_training.errors import UserError
from mme_training.fit import Fitted, explain, fit
from mme_training.hyperparameters.parse import parse
from mme_training.hyperparameters.values import Hyperparameters

MODEL_NAME: Final = "xgboost-model"
SERVING_CODE: Final = "inference.py"
REPLICATED: Final = "FullyReplicated"

_log = logging.getLogger(__name__)


def train(config: Config, layout: Layout, code: UserCode | None, asked: threading.Event) -> None:
    """Read the channels, train, and leave the model in ``model``.

    With several hosts only the first one does: SageMaker puts their directories together.

    Args:
        config: of the job.
        layout: where its files are.
        code: the user's, which may have hooks for training, and for serving.
        asked: set when training is to end early; the best model so far is then the model.

    Raises:
        UserError: the hyperparameters, the channels, the data or the hooks are not right.
        AlgorithmError: training failed otherwise.
    """
    check_channels(config)
    hooks = load_hooks(code)
    # Hooks may have hyperparameters of their own: they find them in SM_HPS.
    hyperparameters = _on_device(parse(config.hyperparameters, extra=bool(hooks)))
    boosters = _Training(config, layout, hyperparameters, code, asked).boosters()
    if not boosters:
        return
    if asked.is_set() and not hyperparameters.save_model_on_termination:
        _log.info("Stopped; no model is saved, as save_model_on_termination has it")
        return
    for name, booster in boosters.items():
        save(booster, layout.model / name)
        if "save_fn" in hooks:
            with explained("save_fn"):
                hooks["save_fn"](booster, str(layout.model))
        _log.info("Saved %s of %d rounds", name, booster.num_boosted_rounds())
    if code and (code.directory / SERVING_CODE).is_file():
        shutil.copytree(
            code.directory,
            layout.model / "code",
            ignore=shutil.ignore_patterns("__pycache__"),
            ignore_dangling_symlinks=True,
            dirs_exist_ok=True,
        )


class _Stop(xgb.callback.TrainingCallback):
    """Ends training after the round in which it is asked to."""

    def __init__(self, asked: threading.Event) -> None:
        self._asked = asked

    def before_iteration(self, model: xgb.Booster, epoch: int, evals_log: Any) -> bool:
        return self._asked.is_set() and model.num_boosted_rounds() > 0

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: Any) -> bool:
        return self._asked.is_set()


@dataclass(frozen=True, slots=True)
class _Training:
    """The parts of one training that belong together."""

    config: Config
    layout: Layout
    hyperparameters: Hyperparameters
    code: UserCode | None
    asked: threading.Event

    def boosters(self) -> dict[str, xgb.Booster]:
        """Train; return the boosters by the names of their files, none on hosts but the first."""
        workers = gpus() if self.hyperparameters.use_dask_gpu_training else 1
        if len(self.config.resources.hosts) > 1 or workers > 1:
            fitted = self._fit_on_hosts(workers)
            return {MODEL_NAME: fitted.booster} if fitted else {}
        training, validation = self._read()
        if self.hyperparameters.kfold is None:
            return {MODEL_NAME: self._fit(training, validation).booster}
        data = concatenate([training, *([validation] if validation else [])])
        _log.info(
            "Run %d-round of %d-fold cross validation with %d rows",
            self.hyperparameters.num_cv_round,
            self.hyperparameters.kfold,
            data.rows,
        )
        output = self.layout.output_data(output_data_host(self.config))
        folds = fit_folds(self.hyperparameters, data, self._fit, output / PREDICTIONS, self.asked)
        boosters = {f"{MODEL_NAME}-{index}": booster for index, booster in enumerate(folds)}
        for path in self.layout.model.glob(f"{MODEL_NAME}-*"):
            if path.name not in boosters:
                path.unlink()  # What a fold was so far that is left out.
        return boosters

    def _fit(
        self, training: Dataset, validation: Dataset | None, fold: int | None = None
    ) -> Fitted:
        directory = self.config.checkpoints
        if directory and fold is not None:
            directory /= f"model-{fold}"
        name = MODEL_NAME if fold is None else f"{MODEL_NAME}-{fold}"
        own = functions(self.code)
        try:
            matrices = training.matrix(), validation.matrix() if validation else None
        except (xgb.core.XGBoostError, ValueError) as error:
            raise explain(error) from error
        return fit(
            self.hyperparameters,
            *matrices,
            callbacks=[*_saving(directory, self._so_far(name)), _Stop(self.asked)],
            resume_from=load_last(directory, training.columns, self.hyperparameters.booster),
            objective=own.objective,
            metric=own.metric,
            log=True,
        )

    def _fit_on_hosts(self, workers: int) -> Fitted | None:
        if self.hyperparameters.kfold:
            raise UserError("_kfold needs a single host: set the instance count to 1")
        # Dask takes a second to import, which a single host need not wait for.
        from mme_training.distributed.run import train_on_hosts

        resources = self.config.resources
        channels = self.config.channels
        copies = channels[TRAIN].distribution == REPLICATED
        if copies and any(channel.distribution != REPLICATED for channel in channels.values()):
            raise UserError(
                f"the channel train is {REPLICATED} and another is not: with several hosts divide "
                "train too, by ShardedByS3Key"
            )
        job = Job(
            self.hyperparameters,
            self._reader(TRAIN),
            self._reader(VALIDATION) if VALIDATION in channels else None,
            copies=copies,
            callbacks=partial(_saving, self.config.checkpoints, self._so_far(MODEL_NAME)),
            functions=partial(functions, self.code),
        )
        cluster = Cluster(
            resources.hosts,
            resources.current_host,
            workers_per_host=workers,
            gpus=workers > 1,
            interface=resources.network_interface_name,
        )
        return train_on_hosts(
            cluster,
            job,
            resume_from=partial(
                load_last, self.config.checkpoints, parameters=self.hyperparameters.booster
            ),
            stop=self.asked,
        )

    def _so_far(self, name: str) -> Path | None:
        return self.layout.model / name if self.hyperparameters.save_model_on_termination else None

    def _read(self) -> tuple[Dataset, Dataset | None]:
        training = self._reader(TRAIN)()
        if training is None:
            raise UserError(
                f"the channel train is empty: no data file below {self.layout.channel(TRAIN)}"
            )
        _log.info("Train matrix has %d rows and %d columns", training.rows, training.columns)
        if VALIDATION not in self.config.channels:
            if self.hyperparameters.early_stopping_rounds and not self.hyperparameters.kfold:
                _log.warning("early_stopping_rounds has no effect without a channel `validation`")
            return training, None
        validation = self._reader(VALIDATION)(training.columns)
        if validation is None:
            raise UserError(
                "the channel validation is empty: no data file below "
                f"{self.layout.channel(VALIDATION)}; leave the channel out to train without"
            )
        _log.info("Validation matrix has %d rows", validation.rows)
        warn_of_overlap(self.layout.channel(TRAIN), self.layout.channel(VALIDATION))
        return training, agree(validation, training)

    def _reader(self, channel: str) -> Reader:
        return Reader(
            self.layout.channel(channel),
            self.config.channels[channel].content_type,
            self.hyperparameters.csv_weights,
            self.code,
        )


def _saving(
    checkpoints: Path | None, so_far: Path | None
) -> Sequence[xgb.callback.TrainingCallback]:
    """What saves between the rounds: to the directory of checkpoints, and to the model's place."""
    return [
        *([SaveCheckpoint(checkpoints)] if checkpoints else []),
        *([SaveSoFar(so_far, time.monotonic)] if so_far else []),
    ]


def _on_device(hyperparameters: Hyperparameters) -> Hyperparameters:
    """On a GPU if there is one, unless the hyperparameters say otherwise."""
    check_device(hyperparameters)
    if "device" in hyperparameters.booster:
        return hyperparameters
    on_cpu_only = (
        hyperparameters.booster.get("booster") == "gblinear"
        or hyperparameters.booster.get("tree_method") == "exact"
    )
    if on_cpu_only or not gpus() or resolve("auto") != "cuda":
        return hyperparameters
    _log.info("Training on the GPU")
    return replace(hyperparameters, booster={**hyperparameters.booster, "device": "cuda"})
