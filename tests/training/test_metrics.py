import re

import numpy as np
import pytest
import sklearn.metrics
import xgboost as xgb

from mme_training.errors import UserError
from mme_training.metrics import (
    METRICS,
    classes,
    is_maximized,
    is_own,
    metric_definitions,
    own_metric,
)

OWN = [name for name, metric in METRICS.items() if metric.own]
LABEL = np.array([0, 1, 1, 0, 1], np.float32)


def matrix(label=LABEL, weight=None):
    return xgb.DMatrix(np.zeros((len(label), 1)), label=label, weight=weight)


def score(name, predictions, objective, label=LABEL, weight=None):
    metric = own_metric(name, objective)
    logged, value = metric(np.asarray(predictions, np.float32), matrix(label, weight))
    assert logged == name
    return value


def test_which_are_whose():
    assert is_own("accuracy")
    assert is_own("mse")
    assert not any(is_own(name) for name in ("rmse", "mae", "ndcg@5", "auc", "nonsense"))


@pytest.mark.parametrize(
    "name",
    ["auc", "aucpr", "map", "map@3", "ndcg", "ndcg-", "ndcg@5-", "pre@2", "ams@0.15", "r2", "f1",
     "interval-regression-accuracy", "accuracy", "precision_micro"],
)  # fmt: skip
def test_more_is_better(name):
    assert is_maximized(name)


@pytest.mark.parametrize(
    "name",
    ["rmse", "mape", "error@0.7", "logloss", "mse", "tweedie-nloglik@1.5", "aft-nloglik",
     "quantile", "nonsense"],
)  # fmt: skip
def test_less_is_better(name):
    assert not is_maximized(name)


class TestClasses:
    """Where a class begins depends on what XGBoost predicts with the objective."""

    @pytest.mark.parametrize(
        ("objective", "predictions", "expected"),
        [
            ("binary:logistic", [0.2, 0.5, 0.51, 0.9], [0, 0, 1, 1]),
            ("reg:logistic", [0.2, 0.5, 0.51, 0.9], [0, 0, 1, 1]),
            ("binary:hinge", [0, 1, 1, 0], [0, 1, 1, 0]),
            ("binary:logitraw", [-2, 0, 0.2, 3], [0, 0, 1, 1]),
            ("multi:softmax", [0, 2, 1], [0, 2, 1]),
            ("multi:softprob", [[0.2, 0.3, 0.5], [0.6, 0.4, 0.0]], [2, 0]),
            ("binary:logistic", [[0.2, 0.7], [0.9, 0.4]], [[0, 1], [1, 0]]),
            (None, [-0.1, 0.1], [0, 1]),
            (None, [[-1, 2, 0], [3, 2, 1]], [1, 0]),
        ],
    )
    def test_of_predictions(self, objective, predictions, expected):
        result = classes(np.asarray(predictions, np.float32), objective)
        np.testing.assert_array_equal(result, expected)

    @pytest.mark.parametrize(
        "objective",
        ["binary:logistic", "binary:logitraw", "binary:hinge", "reg:logistic", "multi:softmax",
         "multi:softprob"],
    )  # fmt: skip
    def test_in_a_training_they_are_one_less_xgboosts_error(self, objective):
        random = np.random.default_rng(0)
        features = random.random((200, 3), np.float32)
        many = objective.startswith("multi:")
        label = np.floor(features[:, 0] * (3 if many else 2)) * (random.random(200) < 0.9)
        # A threshold at 0 or at 0.5 in the wrong place shows only in classes of unequal size.
        data = xgb.DMatrix(features, label=label, weight=random.random(200))
        log = {}
        theirs = "merror" if many else "error" if objective != "binary:logitraw" else "error@0"
        xgb.train(
            {"objective": objective, "max_depth": 2, "nthread": 1, "eval_metric": theirs,
             **({"num_class": 3} if many else {})},
            data, 4, evals=[(data, "train")], evals_result=log, verbose_eval=False,
            custom_metric=own_metric("accuracy", objective),
        )  # fmt: skip
        assert min(log["train"]["accuracy"]) > 0.5
        np.testing.assert_allclose(
            log["train"]["accuracy"], 1 - np.array(log["train"][theirs]), atol=1e-6
        )


class TestValues:
    predictions = (0.4, 0.6, 0.3, 0.7, 0.9)  # classes 0 1 0 1 1 of labels 0 1 1 0 1
    weight = (1.0, 2.0, 3.0, 4.0, 5.0)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("accuracy", 3 / 5),
            ("balanced_accuracy", (1 / 2 + 2 / 3) / 2),
            ("precision", 2 / 3),
            ("recall", 2 / 3),
            ("f1_binary", 2 / 3),
            ("f1", (1 / 2 + 2 / 3) / 2),
            ("f1_macro", (1 / 2 + 2 / 3) / 2),
            ("precision_macro", (1 / 2 + 2 / 3) / 2),
            ("precision_micro", 3 / 5),
            ("recall_macro", (1 / 2 + 2 / 3) / 2),
            ("recall_micro", 3 / 5),
        ],
    )
    def test_of_two_classes(self, name, expected):
        assert score(name, self.predictions, "binary:logistic") == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("accuracy", 8 / 15),
            ("balanced_accuracy", (1 / 5 + 7 / 10) / 2),
            ("precision", 7 / 11),
            ("recall", 7 / 10),
        ],
    )
    def test_rows_count_by_their_weights(self, name, expected):
        value = score(name, self.predictions, "binary:logistic", weight=self.weight)
        assert value == pytest.approx(expected)

    def test_of_numbers(self):
        label, predictions = np.array([1, 2, 4], np.float32), [1, 3, 3]
        assert score("mse", predictions, "reg:squarederror", label) == pytest.approx(2 / 3)
        assert score("r2", predictions, "reg:squarederror", label) == pytest.approx(4 / 7)
        weighted = score("mse", predictions, "reg:squarederror", label, [1, 3, 0])
        assert weighted == pytest.approx(3 / 4)

    def test_balanced_accuracy_is_scikit_learns(self):
        random = np.random.default_rng(0)
        label, guess = random.integers(0, 4, (2, 50)).astype(np.float32)
        assert score("balanced_accuracy", guess, "multi:softmax", label) == pytest.approx(
            sklearn.metrics.balanced_accuracy_score(label, guess)
        )

    def test_a_class_that_is_never_predicted_counts_as_0(self):
        assert score("precision", [0.1] * 5, "binary:logistic") == 0
        assert score("balanced_accuracy", [0, 2, 2, 2, 2], "multi:softmax") == 0.25

    def test_several_outputs(self):
        label = np.array([[1, 0], [0, 1]], np.float32)
        assert score("mse", [[1, 0], [0, 3]], "reg:squarederror", label) == 1
        assert score("accuracy", [[0.9, 0.1], [0.9, 0.9]], "binary:logistic", label) == 0.5


class TestCannotBeComputed:
    @pytest.mark.parametrize(
        ("name", "predictions", "objective", "label"),
        [
            ("f1_binary", [0, 2, 1], "multi:softmax", [0, 1, 2]),
            ("precision", [0, 2, 1], "multi:softmax", [0, 1, 2]),
            ("accuracy", [0.1, 0.9], "reg:logistic", [0.3, 1]),
            ("mse", [[0.1, 0.9]], "multi:softprob", [1]),
            ("r2", [np.nan, 1], "reg:squarederror", [1, 2]),
            ("balanced_accuracy", [[0.9, 0.1]], "binary:logistic", [[1, 0]]),
            ("accuracy", [[0.9, 0.1]], "rank:ndcg", [1]),
        ],
    )
    def test_it_is_the_users_to_mend(self, name, predictions, objective, label):
        with pytest.raises(UserError, match=f"metric '{name}' cannot be computed: ."):
            score(name, predictions, objective, np.array(label, np.float32))


class TestDefinitions:
    LINES = (
        "[12]#011train-rmse:0.5#011validation-mae:2.0#011validation-{}:0.25#011validation-r2:7.5",
        "2026-01-02T03:04:05 [12]\ttrain-rmse:0.5\tvalidation-mae:2.0\tvalidation-{}:0.25",
    )

    def test_as_many_as_a_training_job_may_have(self):
        assert len(metric_definitions()) == len(METRICS) <= 40
        assert all(len(one["Regex"]) <= 500 for one in metric_definitions())
        assert all(set(one) == {"Name", "Regex"} for one in metric_definitions())

    @pytest.mark.parametrize("line", LINES)
    def test_they_read_both_logs(self, line):
        logged = {"ams": "ams@0.15", "tweedie-nloglik": "tweedie-nloglik@1.5"}
        for one in metric_definitions():
            name = one["Name"].removeprefix("validation:")
            if name not in ("mae", "r2"):
                match = re.search(one["Regex"], line.format(logged.get(name, name)))
                assert match, one
                assert match.groups() == ("0.25",)

    def test_they_do_not_read_other_metrics(self):
        line = self.LINES[1].format("mape")
        found = [one["Name"] for one in metric_definitions() if re.search(one["Regex"], line)]
        assert found == ["validation:mae", "validation:mape"]
