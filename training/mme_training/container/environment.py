"""The ``SM_*`` variables that training scripts for SageMaker read.

https://github.com/aws/sagemaker-training-toolkit/blob/master/ENVIRONMENT_VARIABLES.md
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
from typing import Any

from mme_training.container.config import Config
from mme_training.container.layout import Layout

OWN_PREFIX = "sagemaker_"
"""Of the hyperparameters that speak to the container, and not to the algorithm."""


def user_hyperparameters(config: Config) -> dict[str, Any]:
    """The hyperparameters without SageMaker's own.

    The SageMaker SDK writes those of a script as JSON, the console as they stand: both are read.
    """
    return {
        name: _decoded(value)
        for name, value in config.hyperparameters.items()
        if not name.startswith(OWN_PREFIX)
    }


def own_hyperparameter(config: Config, name: str) -> str | None:
    """One of SageMaker's own, such as ``sagemaker_program``."""
    value = _decoded(config.hyperparameters.get(name))
    return None if value is None else str(value)


def log_level(config: Config) -> int:
    """The level that ``sagemaker_container_log_level`` asks for; INFO unless it does."""
    level = own_hyperparameter(config, "sagemaker_container_log_level") or ""
    return int(level) if level.isdecimal() else logging.INFO


def script_arguments(config: Config) -> list[str]:
    """The hyperparameters as a script's arguments: ``--max_depth 5``."""
    arguments = []
    for name, value in sorted(user_hyperparameters(config).items()):
        arguments += [f"--{name}" if len(name) > 1 else f"-{name}", _argument(value)]
    return arguments


def _argument(value: Any) -> str:
    """As SageMaker's toolkit writes it: True, and ``a=1,b=2`` of an object."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return ",".join(f"{name}={item}" for name, item in sorted(value.items()))
    return str(value)


def gpus() -> int:
    """How many GPUs the driver shows."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    try:
        done = subprocess.run(
            [program, "--list-gpus"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


def output_data_host(config: Config) -> str | None:
    """The host whose name the output's directory has; None where there is only one."""
    return config.resources.current_host if len(config.resources.hosts) > 1 else None


def variables(config: Config, layout: Layout, program: str | None = None) -> dict[str, str]:
    """The environment of a training script; `program` is its file's name, where there is one."""
    channels = {name: str(layout.channel(name)) for name in config.channels}
    hyperparameters = user_hyperparameters(config)
    resources = config.resources
    described: dict[str, Any] = {
        "channel_input_dirs": channels,
        "current_host": resources.current_host,
        "hosts": resources.hosts,
        "hyperparameters": hyperparameters,
        "input_config_dir": str(layout.config),
        "input_data_config": _as_given(config),
        "input_dir": str(layout.root / "input"),
        "job_name": os.environ.get("TRAINING_JOB_NAME", ""),
        "log_level": log_level(config),
        "model_dir": str(layout.model),
        "module_dir": str(layout.code),
        "module_name": (program or "").removesuffix(".py"),
        "network_interface_name": resources.network_interface_name,
        "num_cpus": len(os.sched_getaffinity(0)),
        "num_gpus": gpus(),
        "output_data_dir": str(layout.output_data(output_data_host(config))),
        "output_dir": str(layout.output),
        "output_intermediate_dir": str(layout.output / "intermediate"),
        "resource_config": resources.model_dump(exclude_none=True),
        "user_entry_point": program,
    }
    named = {
        "SM_CHANNELS": sorted(channels),
        "SM_CURRENT_INSTANCE_TYPE": resources.current_instance_type,
        "SM_HPS": hyperparameters,
        "SM_TRAINING_ENV": described,
        "SM_USER_ARGS": script_arguments(config),
        **{f"SM_{name.upper()}": described[name] for name in _ALSO_ALONE},
        **{f"SM_CHANNEL_{name.upper()}": directory for name, directory in channels.items()},
        **{
            f"SM_HP_{name.upper()}": "" if value is None else value
            for name, value in hyperparameters.items()
        },
    }
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in named.items()
        # What the system takes for no variable is in SM_HPS all the same.
        if value is not None and "=" not in name and "\0" not in f"{name}{value}"
    }


_ALSO_ALONE = (
    "current_host",
    "hosts",
    "input_config_dir",
    "input_data_config",
    "input_dir",
    "log_level",
    "model_dir",
    "module_dir",
    "module_name",
    "network_interface_name",
    "num_cpus",
    "num_gpus",
    "output_data_dir",
    "output_dir",
    "output_intermediate_dir",
    "resource_config",
    "user_entry_point",
)


def _as_given(config: Config) -> dict[str, Any]:
    return {
        name: channel.model_dump(by_alias=True, exclude_none=True)
        for name, channel in config.channels.items()
    }


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
