from __future__ import annotations

import json
import os

from mme_training.container.config import read_config
from mme_training.container.environment import script_arguments, user_hyperparameters, variables
from mme_training.container.layout import Layout
from support.training_job import TrainingJob

HYPERPARAMETERS = {
    "max_depth": "5",
    "objective": '"reg:squarederror"',  # as the SageMaker SDK writes those of a script
    "eta": "0.2",
    "k": "[1, 2]",
    "sagemaker_program": '"train.py"',
    "sagemaker_submit_directory": '"s3://bucket/sourcedir.tar.gz"',
}


def _job(root) -> TrainingJob:
    job = TrainingJob(root, train="text/csv", validation="text/csv", code=None)
    job.write("hyperparameters.json", HYPERPARAMETERS)
    return job


def test_a_script_gets_the_variables_of_sagemakers_toolkit(tmp_path) -> None:
    _job(tmp_path)
    layout = Layout(tmp_path)
    found = variables(read_config(layout), layout, "train.py")

    assert found["SM_MODEL_DIR"] == str(tmp_path / "model")
    assert found["SM_CHANNEL_TRAIN"] == str(tmp_path / "input/data/train")
    assert found["SM_CHANNEL_VALIDATION"] == str(tmp_path / "input/data/validation")
    assert json.loads(found["SM_CHANNELS"]) == ["code", "train", "validation"]
    assert found["SM_OUTPUT_DATA_DIR"] == str(tmp_path / "output/data")
    assert found["SM_HP_MAX_DEPTH"] == "5"
    assert found["SM_HP_OBJECTIVE"] == "reg:squarederror"
    assert json.loads(found["SM_HPS"]) == {
        "max_depth": 5,
        "objective": "reg:squarederror",
        "eta": 0.2,
        "k": [1, 2],
    }
    assert json.loads(found["SM_HOSTS"]) == ["algo-1"]
    assert found["SM_CURRENT_HOST"] == "algo-1"
    assert found["SM_NUM_CPUS"] == str(len(os.sched_getaffinity(0)))
    assert int(found["SM_NUM_GPUS"]) >= 0
    assert found["SM_USER_ENTRY_POINT"] == "train.py"
    assert json.loads(found["SM_TRAINING_ENV"])["module_name"] == "train"
    assert json.loads(found["SM_INPUT_DATA_CONFIG"])["train"]["ContentType"] == "text/csv"
    assert all(isinstance(value, str) for value in found.values())


def test_with_several_hosts_each_has_an_output_of_its_own(tmp_path) -> None:
    job = _job(tmp_path)
    job.write("resourceconfig.json", {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"]})
    layout = Layout(tmp_path)
    found = variables(read_config(layout), layout)
    assert found["SM_OUTPUT_DATA_DIR"] == str(tmp_path / "output/data/algo-2")


def test_hyperparameters_become_arguments(tmp_path) -> None:
    _job(tmp_path)
    config = read_config(Layout(tmp_path))
    assert script_arguments(config) == [
        *("--eta", "0.2"),
        *("-k", "[1, 2]"),
        *("--max_depth", "5"),
        *("--objective", "reg:squarederror"),
    ]
    assert "sagemaker_program" not in user_hyperparameters(config)


def test_arguments_are_written_as_sagemakers_toolkit_writes_them(tmp_path) -> None:
    job = _job(tmp_path)
    given = {"flag": "true", "none": "null", "map": '{"b": 2, "a": 1}', "text": "a 'b' \"c\""}
    job.write("hyperparameters.json", given)
    config = read_config(Layout(tmp_path))
    assert script_arguments(config) == [
        *("--flag", "True"),
        *("--map", "a=1,b=2"),
        *("--none", ""),
        *("--text", "a 'b' \"c\""),
    ]
    assert variables(config, Layout(tmp_path))["SM_HP_NONE"] == ""
    assert variables(config, Layout(tmp_path))["SM_HP_FLAG"] == "true"


def test_what_sagemaker_says_beyond_is_passed_on(tmp_path) -> None:
    job = _job(tmp_path)
    resources = {
        "current_host": "algo-1",
        "hosts": ["algo-1"],
        "current_instance_type": "ml.m5.large",
        "instance_groups": [{"instance_group_name": "one"}],
        "network_interface_name": "eth0",
    }
    job.write("resourceconfig.json", resources)
    found = variables(read_config(Layout(tmp_path)), Layout(tmp_path))
    assert json.loads(found["SM_RESOURCE_CONFIG"]) == resources
    assert found["SM_CURRENT_INSTANCE_TYPE"] == "ml.m5.large"


def test_names_that_no_variable_can_have_are_left_out(tmp_path) -> None:
    job = _job(tmp_path)
    given = {"a=b": "1", "nul": "\0", "deep": "[" * 100_000, "sagemaker_container_log_level": "²"}
    job.write("hyperparameters.json", given)
    found = variables(read_config(Layout(tmp_path)), Layout(tmp_path))
    assert json.loads(found["SM_HPS"])["a=b"] == 1
    assert not {"SM_HP_A=B", "SM_HP_NUL"} & set(found)
