"""Two hosts on loopback addresses, each with processes of its own, as SageMaker starts them."""

from __future__ import annotations

import io
import os
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from mme_training.fit import Fitted, fit
from mme_training.hyperparameters.values import Hyperparameters
from support.hosts import Host, Hosts, csv, libsvm, loopback

SHARDS = (csv(500, 1), csv(300, 2))
VALIDATION = (csv(100, 3), csv(60, 4))


def table(*texts: str) -> np.ndarray:
    return pd.read_csv(io.StringIO("".join(texts)), header=None).to_numpy(np.float32)


def matrix(*texts: str) -> xgb.DMatrix:
    rows = table(*texts)
    return xgb.DMatrix(rows[:, 1:], label=rows[:, 0], nthread=1)


def fill(hosts: Hosts) -> None:
    for host, training, validation in zip(hosts.hosts, SHARDS, VALIDATION, strict=True):
        host.put("train", training)
        host.put("validation", validation)


def on_one_host(hosts: Hosts, *, validation: bool = True) -> Fitted:
    return fit(
        Hyperparameters(**hosts.hyperparameters),
        matrix(*SHARDS),
        matrix(*VALIDATION) if validation else None,
    )


def predictions(booster: xgb.Booster) -> np.ndarray:
    return booster.predict(matrix(csv(200, 9)))


def assert_same(one: xgb.Booster, other: xgb.Booster) -> None:
    assert one.num_boosted_rounds() == other.num_boosted_rounds()
    np.testing.assert_allclose(predictions(one), predictions(other), atol=0.02)


def reasons(hosts: Hosts) -> list[tuple[str, str]]:
    return [(host.result["kind"], host.result["error"]) for host in hosts.hosts]


def checkpoints(host: Host) -> list[str]:
    directory = host.root / "checkpoints"
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def test_two_hosts_train_what_one_would_with_all_rows(hosts: Hosts) -> None:
    fill(hosts)
    assert hosts.run() == [0, 0], hosts.log()
    alone = on_one_host(hosts)
    assert_same(hosts[0].model, alone.booster)
    history = hosts[0].result["history"]
    assert history["train"]["rmse"] == pytest.approx(alone.history["train"]["rmse"], abs=1e-3)
    expected = pytest.approx(alone.scores["validation"]["rmse"], abs=1e-3)
    assert hosts[0].result["scores"]["validation"]["rmse"] == expected

    assert [line.partition("\t")[0] for line in hosts[0].lines] == [f"[{n}]" for n in range(8)]
    assert hosts[0].lines[0].startswith("[0]\ttrain-rmse:")
    assert "\tvalidation-rmse:" in hosts[0].lines[0]
    assert "\ttrain-bias:" in hosts[0].lines[0]
    assert hosts[1].lines == []
    assert len(checkpoints(hosts[0])) == 7  # XGBoost's own callback leaves out the first round.
    assert checkpoints(hosts[1]) == []
    assert not (hosts[1].root / "model.ubj").exists()


def test_early_stopping_ends_on_all_hosts_at_once(hosts: Hosts) -> None:
    fill(hosts)
    hosts.hyperparameters = {
        "booster": {"max_depth": 6, "eta": 0.8, "nthread": 1},
        "num_round": 200,
        "early_stopping_rounds": 3,
        "eval_metric": ("mae", "rmse"),
    }
    assert hosts.run() == [0, 0], hosts.log()
    alone = on_one_host(hosts)
    assert alone.booster.num_boosted_rounds() < 50
    assert_same(hosts[0].model, alone.booster)
    assert len(hosts[0].lines) == alone.booster.num_boosted_rounds() + 3


@pytest.mark.slow
def test_training_goes_on_from_the_first_hosts_checkpoint(hosts: Hosts) -> None:
    fill(hosts)
    hosts.hyperparameters["num_round"] = 3
    assert hosts.run() == [0, 0], hosts.log()
    hosts.hyperparameters["num_round"] = 8
    assert hosts.run() == [0, 0], hosts.log()
    assert (hosts[0].root / "columns").read_text() == "4"
    assert not (hosts[1].root / "columns").exists()
    assert hosts[0].lines[0].startswith("[3]\t")
    assert len(hosts[0].lines) == 5
    assert_same(hosts[0].model, on_one_host(hosts).booster)


def test_libsvm_has_as_many_columns_as_the_widest_shard(hosts: Hosts) -> None:
    hosts.content_type = "text/libsvm"
    texts = libsvm(200, 3, 1), libsvm(100, 5, 2)
    for host, text in zip(hosts.hosts, texts, strict=True):
        host.put("train", text, "part.libsvm")
        host.put("validation", libsvm(50, 4, 3), "part.libsvm")
    assert hosts.run() == [0, 0], hosts.log()
    columns = int((hosts[0].root / "columns").read_text())
    assert hosts[0].model.num_features() == columns
    assert columns >= 5


def test_a_host_without_rows_takes_no_part(hosts: Hosts) -> None:
    hosts[0].put("train", SHARDS[0])
    assert hosts.run() == [0, 0], hosts.log()
    assert "127.0.0.2 has no data in the channel train" in hosts[0].log
    alone = fit(Hyperparameters(**hosts.hyperparameters), matrix(SHARDS[0])).booster
    assert_same(hosts[0].model, alone)


def test_the_first_host_saves_the_model_even_if_it_has_no_rows_itself(hosts: Hosts) -> None:
    hosts[1].put("train", SHARDS[1])
    assert hosts.run() == [0, 0], hosts.log()
    assert hosts[0].model.num_boosted_rounds() == 8
    assert len(hosts[0].lines + hosts[1].lines) == 8
    assert len(checkpoints(hosts[1])) == 7


def test_a_host_without_validation_rows_takes_no_part(hosts: Hosts) -> None:
    fill(hosts)
    (hosts[1].root / "validation" / "part.csv").unlink()
    assert hosts.run() == [0, 0], hosts.log()
    assert "127.0.0.2 has no data in the channel validation" in hosts[0].log
    alone = fit(Hyperparameters(**hosts.hyperparameters), matrix(SHARDS[0])).booster
    assert_same(hosts[0].model, alone)


def test_no_rows_on_any_host_are_the_users_mistake(hosts: Hosts) -> None:
    assert hosts.run() == [1, 1]
    assert reasons(hosts) == [("UserError", "the channel train is empty on all hosts")] * 2


def test_the_same_rows_on_all_hosts_are_warned_of(hosts: Hosts) -> None:
    for host in hosts.hosts:
        host.put("train", SHARDS[0])
    assert hosts.run() == [0, 0], hosts.log()
    assert "127.0.0.1, 127.0.0.2 have the same rows in the channel train" in hosts[0].log


def test_copies_are_divided_among_the_workers(hosts: Hosts) -> None:
    hosts.copies = True
    for host in hosts.hosts:
        host.put("train", "".join(SHARDS))
        host.put("validation", "".join(VALIDATION))
    assert hosts.run() == [0, 0], hosts.log()
    assert "the same rows" not in hosts[0].log
    alone = on_one_host(hosts)
    assert_same(hosts[0].model, alone.booster)
    # A sum over rows that counted twice would differ, and with it the regularised leaves.
    expected = pytest.approx(alone.history["train"]["rmse"], abs=1e-4)
    assert hosts[0].result["history"]["train"]["rmse"] == expected


def test_two_workers_of_one_host_divide_its_rows(tmp_path: Path) -> None:
    with loopback(tmp_path, 1) as hosts:
        hosts.workers_per_host = 2
        hosts[0].put("train", "".join(SHARDS))
        hosts[0].put("validation", "".join(VALIDATION))
        assert hosts.run() == [0], hosts.log()
        assert_same(hosts[0].model, on_one_host(hosts).booster)
        assert len(hosts[0].lines) == 8
        assert "000001 on 127.0.0.1 got rank 1" in hosts[0].log


def test_hosts_with_different_categories_train_on_all_of_them(hosts: Hosts) -> None:
    hosts.content_type = "application/x-parquet"
    hosts.hyperparameters["booster"]["max_cat_to_onehot"] = 1
    random = np.random.default_rng(5)
    tables = []
    for host, cities in zip(hosts.hosts, (["Miami", "Dallas"], ["Boston", "Miami"]), strict=True):
        city = random.choice(cities, 200)
        price = pd.Series(city).map({"Miami": 3.0, "Dallas": 1.0, "Boston": 7.0})
        table = pd.DataFrame({"price": price, "city": city, "rooms": random.integers(1, 5, 200)})
        table["city"] = table["city"].astype("category")
        (host.root / "train").mkdir()
        table.to_parquet(host.root / "train" / "part.parquet")
        tables.append(table.astype({"city": str}))
    assert hosts.run() == [0, 0], hosts.log()
    rows = pd.concat(tables, ignore_index=True)
    rows["city"] = rows["city"].astype("category")
    data = xgb.DMatrix(rows[["city", "rooms"]], rows["price"], enable_categorical=True)
    alone = fit(Hyperparameters(**hosts.hyperparameters), data).booster
    np.testing.assert_allclose(hosts[0].model.predict(data), alone.predict(data), atol=1e-3)
    assert hosts[0].model.feature_names == ["city", "rooms"]


def test_bad_data_on_one_host_is_the_reason_on_all(hosts: Hosts) -> None:
    fill(hosts)
    hosts[1].put("train", SHARDS[1] + "1.0,2,much,4,5\n")
    assert hosts.run() == [1, 1]
    ((kind, reason), other) = reasons(hosts)
    assert (kind, reason) == other
    assert kind == "UserError"
    assert reason.startswith("127.0.0.2: ")
    assert "part.csv" in reason
    assert "301" in reason


def test_what_xgboost_refuses_is_the_reason_on_all(hosts: Hosts) -> None:
    fill(hosts)
    hosts.hyperparameters["booster"]["tree_method"] = "exact"
    assert hosts.run() == [1, 1]
    kinds, messages = zip(*reasons(hosts), strict=True)
    assert kinds == ("UserError", "UserError")
    assert messages[0] == messages[1]
    assert "exact" in messages[0]


def test_a_failing_callback_ends_all_hosts(hosts: Hosts) -> None:
    fill(hosts)
    hosts.fails = True
    assert hosts.run() == [1, 1]
    reason = "127.0.0.1: OSError: no space left on device"
    assert reasons(hosts) == [("AlgorithmError", reason)] * 2


def test_a_model_outlives_a_dask_that_fails_to_close(hosts: Hosts) -> None:
    fill(hosts)
    hosts.fails_to_close = True
    assert hosts.run() == [0, 0], hosts.log()
    assert_same(hosts[0].model, on_one_host(hosts).booster)


def test_a_reason_outlives_a_dask_that_fails_to_close(hosts: Hosts) -> None:
    fill(hosts)
    hosts.fails = hosts.fails_to_close = True
    assert hosts.run() == [1, 1]
    assert reasons(hosts) == [("AlgorithmError", "127.0.0.1: OSError: no space left on device")] * 2


@pytest.mark.parametrize("number", [0, 1])
def test_a_host_that_dies_is_named_by_the_other(hosts: Hosts, number: int) -> None:
    fill(hosts)
    hosts.seconds, hosts.hyperparameters["num_round"] = 0.2, 10000
    hosts.start()
    hosts[0].await_rounds()
    hosts[number].kill()
    other = hosts[1 - number]
    assert other.wait() == 1, hosts.log()
    assert other.result["kind"] == "AlgorithmError"
    assert other.result["error"].startswith(f"{hosts[number].name} was lost during training")


@pytest.mark.parametrize("number", [0, 1])
def test_a_worker_that_dies_ends_all_hosts(hosts: Hosts, number: int) -> None:
    fill(hosts)
    hosts.seconds, hosts.hyperparameters["num_round"] = 0.2, 10000
    hosts.start()
    hosts[0].await_rounds()
    (worker,) = hosts[number].workers
    worker.kill()
    assert [host.wait() for host in hosts.hosts] == [1, 1], hosts.log()
    for kind, reason in reasons(hosts):
        assert kind == "AlgorithmError"
        assert reason.startswith(f"{hosts[number].name} was lost during training")
    assert "signal 9" in reasons(hosts)[number][1]


def test_workers_end_with_their_parent(hosts: Hosts) -> None:
    fill(hosts)
    hosts.seconds, hosts.hyperparameters["num_round"] = 0.2, 10000
    hosts.start()
    hosts[0].await_rounds()
    (worker,) = hosts[1].workers
    os.kill(hosts[1].pid, signal.SIGKILL)
    worker.wait(30)
    assert hosts[0].wait() == 1
    assert hosts[0].result["error"].startswith("127.0.0.2 was lost during training")


@pytest.mark.parametrize("number", [0, 1])
def test_sigterm_on_one_host_ends_training_with_the_round_on_all(hosts: Hosts, number: int) -> None:
    fill(hosts)
    hosts.seconds, hosts.hyperparameters["num_round"] = 0.2, 10000
    hosts.start()
    hosts[0].await_rounds()
    os.kill(hosts[number].pid, signal.SIGTERM)
    assert [host.wait() for host in hosts.hosts] == [0, 0], hosts.log()
    rounds = hosts[0].model.num_boosted_rounds()
    assert 3 <= rounds < 10000
    assert len(hosts[0].lines) == rounds


def test_a_host_that_does_not_come_is_named(hosts: Hosts) -> None:
    fill(hosts)
    hosts.patience = 4
    hosts.start([hosts[0]])
    assert hosts[0].wait() == 1
    assert hosts[0].result["kind"] == "AlgorithmError"
    assert "did not come in 4 seconds: 127.0.0.2;" in hosts[0].result["error"]


def test_a_first_host_that_does_not_come_is_named(hosts: Hosts) -> None:
    fill(hosts)
    hosts.patience = 4
    hosts.start([hosts[1]])
    assert hosts[1].wait() == 1
    assert "the host 127.0.0.1 could not be reached at 127.0.0.1:" in hosts[1].result["error"]


def test_hosts_may_come_one_after_the_other(hosts: Hosts) -> None:
    fill(hosts)
    hosts.start([hosts[1]])
    hosts[1].await_workers()
    time.sleep(3)
    hosts.start([hosts[0]])
    assert [host.wait() for host in hosts.hosts] == [0, 0], hosts.log()


def test_a_port_that_is_taken_is_named(hosts: Hosts) -> None:
    fill(hosts)
    with socket.create_server((hosts[0].name, hosts.port)):
        hosts.start([hosts[0]])
        assert hosts[0].wait() == 1
    assert hosts[0].result["kind"] == "AlgorithmError"
    assert f"cannot listen at 127.0.0.1:{hosts.port}" in hosts[0].result["error"]
    assert "in use" in hosts[0].result["error"]


def test_sigterm_before_all_have_come_ends_the_wait(hosts: Hosts) -> None:
    fill(hosts)
    hosts.start([hosts[0]])
    hosts[0].await_workers()
    os.kill(hosts[0].pid, signal.SIGTERM)
    assert hosts[0].wait() == 1
    assert "stopped before its first round" in hosts[0].result["error"]
