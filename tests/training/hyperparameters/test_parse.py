import contextlib
import json
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mme_training.errors import UserError
from mme_training.hyperparameters.parse import parse
from mme_training.hyperparameters.table import ALIASES, PARAMETERS
from mme_training.hyperparameters.values import Hyperparameters


def problems(**given):
    with pytest.raises(UserError) as caught:
        parse({"num_round": "10", **given})
    return str(caught.value).splitlines()


def booster(**given):
    return dict(parse({"num_round": "10", **given}).booster)


def test_texts_of_a_job():
    assert parse(
        {
            "num_round": "100",
            "objective": "binary:logistic",
            "learning_rate": "0.2",
            "max_depth": "5",
            "early_stopping_rounds": "10",
            "eval_metric": "error@.70, auc",
            "csv_weights": "1",
            "_kfold": "5",
            "_num_cv_round": "2",
            "save_model_on_termination": "false",
            "use_dask_gpu_training": "true",
            "sagemaker_program": "train.py",
            "sagemaker_region": '"eu-west-1"',
        }
    ) == Hyperparameters(
        booster={"objective": "binary:logistic", "eta": 0.2, "max_depth": 5},
        num_round=100,
        early_stopping_rounds=10,
        eval_metric=("error@0.7", "auc"),
        csv_weights=True,
        kfold=5,
        num_cv_round=2,
        save_model_on_termination=False,
        use_dask_gpu_training=True,
    )


def test_what_is_left_out_is_left_to_xgboost():
    assert parse({"num_round": 1}) == Hyperparameters(booster={}, num_round=1)
    assert parse({"num_round": 1, "eta": None, "seed": "null"}).booster == {}


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("max_depth", "6", 6),
        ("max_depth", " 6 ", 6),
        ("max_depth", '"6"', 6),
        ("max_depth", 6.0, 6),
        ("max_depth", "6.0", 6),
        ("max_depth", np.int64(6), 6),
        ("seed", "-9223372036854775808", -(2**63)),
        ("eta", "1e-1", 0.1),
        ("eta", ".5", 0.5),
        ("eta", 1, 1.0),
        ("eta", np.float32(0.5), 0.5),
        ("refresh_leaf", "True", True),
        ("refresh_leaf", "0", False),
        ("refresh_leaf", 1, True),
        ("refresh_leaf", np.True_, True),
        ("objective", '"reg:squarederror"', "reg:squarederror"),
        ("device", "cuda:1", "cuda:1"),
        ("updater", "grow_colmaker, prune", "grow_colmaker,prune"),
        ("updater", '["grow_colmaker", "prune"]', "grow_colmaker,prune"),
        ("monotone_constraints", "(1,0,-1)", (1, 0, -1)),
        ("monotone_constraints", "(1,)", (1,)),
        ("monotone_constraints", "[1, 0]", (1, 0)),
        ("monotone_constraints", [1, 0], (1, 0)),
        ("monotone_constraints", '{"AGE": 1}', {"AGE": 1}),
        ("interaction_constraints", "[[0,1],[2]]", "[[0, 1], [2]]"),
        ("interaction_constraints", [(0, 1)], "[[0, 1]]"),
        ("interaction_constraints", "[['AGE', 'SIZE']]", [["AGE", "SIZE"]]),
        ("interaction_constraints", '"[[0, 1]]"', "[[0, 1]]"),
        ("base_score", "0.25", 0.25),
        ("base_score", "[0.25, 0.5]", [0.25, 0.5]),
        ("base_score", -1, -1.0),
    ],
)
def test_good(name, given, value):
    read = booster(**{name: given})[name]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("max_depth", "deep", "max_depth must be a whole number, not 'deep'"),
        ("max_depth", "6.5", "max_depth must be a whole number, not '6.5'"),
        ("max_depth", True, "max_depth must be a whole number, not True"),
        ("max_depth", "1_0", "max_depth must be a whole number, not '1_0'"),
        ("max_depth", "-1", "max_depth must be in [0, ∞), not -1"),
        ("max_depth", "2147483648", "max_depth must be in [0, ∞), not 2147483648"),
        ("verbosity", "4", "verbosity must be in [0, 3], not 4"),
        ("learning_rate", "fast", "learning_rate must be a number, not 'fast'"),
        ("eta", "nan", "eta must be a number, not 'nan'"),
        ("eta", float("inf"), "eta must be a number, not inf"),
        ("eta", "-0.1", "eta must be in [0, ∞), not '-0.1'"),
        ("eta", "1e39", "eta must be a number that float32 can hold, not '1e39'"),
        ("eta", "1e-40", "eta must be a number that float32 can hold, not '1e-40'"),
        ("subsample", "0", "subsample must be in (0, 1], not '0'"),
        ("eta", [0.1], "eta must be a number, not [0.1]"),
        ("refresh_leaf", "yes", "refresh_leaf must be true or false, not 'yes'"),
        (
            "booster",
            "gbforest",
            "booster must be one of gbtree, gblinear, dart, not 'gbforest'",
        ),
        ("device", "tpu", "device must be cpu, cuda, cuda:<n>, gpu or gpu:<n>, not 'tpu'"),
        ("device", "cuda:-1", "device must be cpu, cuda, cuda:<n>, gpu or gpu:<n>, not 'cuda:-1'"),
        ("eval_metric", "rsme", "eval_metric has no metric 'rsme'; did you mean 'rmse'?"),
        ("eval_metric", "rmse,", "eval_metric must be names with commas between them, not 'rmse,'"),
        ("eval_metric", "", "eval_metric must be names with commas between them, not ''"),
        ("eval_metric", "ams", "eval_metric has 'ams', which needs a ratio as in 'ams@0.15'"),
        (
            "eval_metric",
            "auc@3",
            "eval_metric has 'auc', which takes nothing after its name, not 'auc@3'",
        ),
        (
            "eval_metric",
            "ndcg@0",
            "eval_metric has 'ndcg@0', where a whole number above 0 must follow the @",
        ),
        (
            "eval_metric",
            "error@x",
            "eval_metric has 'error@x', where a number must follow the @",
        ),
        (
            "eval_metric",
            "tweedie-nloglik@2",
            "eval_metric has 'tweedie-nloglik@2', where a number in [1, 2) must follow the @",
        ),
        (
            "_tuning_objective_metric",
            "validation:rsme",
            "_tuning_objective_metric has no metric 'rsme'; did you mean 'rmse'?",
        ),
        (
            "monotone_constraints",
            "(1,2)",
            "monotone_constraints must hold -1, 0 and 1 alone, not 2 in '(1,2)'",
        ),
        (
            "monotone_constraints",
            "__import__('os')",
            "monotone_constraints must be a list, not \"__import__('os')\"",
        ),
        (
            "interaction_constraints",
            "[0, 1]",
            "interaction_constraints must be as [[0,1],[2,3,4]], not '[0, 1]'",
        ),
        (
            "interaction_constraints",
            "[[0, -1]]",
            "interaction_constraints must hold indices from 0 alone, or names alone, "
            "not '[[0, -1]]'",
        ),
        ("base_score", "[]", "base_score must hold at least one number, not none"),
        ("gpu_id", "0", "gpu_id is gone: use `device`, as in cuda:0"),
        ("updater", "distcol", "updater distcol is gone: use tree_method `hist`"),
        (
            "objective",
            "aft_loss_distribution",
            "objective aft_loss_distribution never was an objective: use `survival:aft`",
        ),
        ("max_dpeth", "3", "there is no hyperparameter 'max_dpeth': did you mean max_depth?"),
        ("n_estimators", "3", "there is no hyperparameter 'n_estimators': did you mean num_round?"),
        ("zzz", "3", "there is no hyperparameter 'zzz'"),
    ],
)
def test_bad(name, value, problem):
    assert problems(**{name: value}) == [problem]


def test_long_values_are_cut():
    assert problems(eta="9" * 1000 + "x") == [f"eta must be a number, not '{'9' * 56}..."]


def test_all_problems_are_told_at_once():
    with pytest.raises(UserError) as caught:
        parse({"eta": "fast", "max_dpeth": "3", "reg_alpha": "1", "alpha": "1", "num_class": "3",
               "objective": "binary:logistic"})  # fmt: skip
    assert str(caught.value).splitlines() == [
        "eta must be a number, not 'fast'",
        "there is no hyperparameter 'max_dpeth': did you mean max_depth?",
        "reg_alpha and alpha are the same: give one of them",
        "num_class is for objective multi:softmax or multi:softprob, not binary:logistic",
        "num_round is missing: say how many rounds to train",
    ]


def test_a_wrong_value_does_not_make_wrong_combinations():
    assert problems(objective="multi:sofmax", num_class=3, eval_metric="mlogloss") == [
        "objective must be one of " + ", ".join(PARAMETERS["objective"].kind.choices)
        + ", not 'multi:sofmax'"
    ]  # fmt: skip


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases(alias):
    name = ALIASES[alias]
    example = PARAMETERS[name].example
    assert booster(**{alias: example}) == {name: example}
    assert problems(**{alias: example, name: example}) == [
        f"{alias} and {name} are the same: give one of them"
    ]


class TestTuningMetric:
    def metrics(self, **given):
        return parse({"num_round": 1, **given}).eval_metric

    def test_joins_and_is_the_last(self):
        assert self.metrics(_tuning_objective_metric="validation:rmse") == ("rmse",)
        assert self.metrics(
            _tuning_objective_metric="validation:rmse", eval_metric="rmse,mae,mape"
        ) == ("mae", "mape", "rmse")

    def test_several(self):
        assert self.metrics(
            _tuning_objective_metric='"validation:mae,r2"', eval_metric=["rmse", "mae"]
        ) == ("rmse", "mae", "r2")

    def test_the_power_of_tweedie(self):
        assert self.metrics(
            objective="reg:tweedie",
            tweedie_variance_power="1.20",
            eval_metric="tweedie-nloglik@1.2,rmse",
            _tuning_objective_metric="validation:tweedie-nloglik",
        ) == ("rmse", "tweedie-nloglik@1.2")
        assert self.metrics(objective="reg:tweedie", eval_metric="tweedie-nloglik") == (
            "tweedie-nloglik@1.5",
        )

    def test_a_name_of_the_users_own_is_not_ours_to_read(self, caplog):
        assert self.metrics(_tuning_objective_metric="my-metric", eval_metric="mae") == ("mae",)
        assert "names no metric" in caplog.text

    def test_a_metric_of_the_script(self, caplog):
        result = parse(
            {"num_round": 1, "_tuning_objective_metric": "validation:profit"}, extra=True
        )
        assert result.eval_metric == ()
        assert "only the script knows" in caplog.text


class TestGone:
    def test_gpu_hist(self, caplog):
        assert booster(tree_method="gpu_hist") == {"tree_method": "hist", "device": "cuda"}
        assert "tree_method gpu_hist is now" in caplog.text
        assert booster(device="cuda:1", tree_method="gpu_hist")["device"] == "cuda:1"
        assert problems(tree_method="gpu_hist", device="cpu") == [
            "device cpu does not go with tree_method gpu_hist"
        ]

    def test_reg_linear(self):
        assert booster(objective="reg:linear") == {"objective": "reg:squarederror"}

    @pytest.mark.parametrize(
        "name",
        ["sketch_eps", "dsplit", "predictor", "deterministic_histogram", "prob_buffer_row",
         "lambda_bias", "single_precision_histogram", "enable_categorical"],
    )  # fmt: skip
    def test_ignored(self, name, caplog):
        assert booster(**{name: "0.1"}) == {}
        assert f"hyperparameter {name} " in caplog.text
        assert caplog.records[0].levelno == logging.WARNING


class TestScript:
    def test_unknown_ones_are_kept_as_given(self):
        result = parse({"num_round": "1", "city": '"Bonn"', "n": 3, "none": None}, extra=True)
        assert result.extra == {"city": '"Bonn"', "n": 3, "none": None}

    def test_known_ones_are_checked_all_the_same(self):
        with pytest.raises(UserError, match="max_depth must be"):
            parse({"num_round": "1", "max_depth": "x"}, extra=True)

    def test_the_objective_may_be_the_scripts(self):
        assert parse({"num_round": 1, "eval_metric": "accuracy"}, extra=True).eval_metric


TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["0", "1", "-1", "0.5", "1e400", "nan", "null", '"', '""', "[]", "()", "{}"]),
    st.sampled_from(['[["a"]]', "[[0]]", "((((", "[" * 3000, "rmse", "auc,", "'\\d'", "true"]),
    st.recursive(st.integers() | st.floats() | st.text(max_size=3), st.lists).map(json.dumps),
)


@settings(max_examples=200)
@given(
    st.dictionaries(st.sampled_from([*PARAMETERS, *ALIASES]) | st.text(max_size=12), TEXTS),
    st.booleans(),
)
def test_texts_are_taken_or_refused_as_the_users_mistake(given, extra):
    with contextlib.suppress(UserError):
        assert isinstance(parse(given, extra), Hyperparameters)


VALUES = {
    "max_depth": st.integers(0, 50),
    "max_leaves": st.integers(0, 2**31 - 1),
    "seed": st.integers(-(2**63), 2**63 - 1),
    "eta": st.floats(0, 2.0**100, width=32).filter(lambda x: x == 0 or x > 1.2e-38),
    "subsample": st.floats(0.001, 1),
    "base_score": st.lists(st.floats(-1e9, 1e9).filter(lambda x: abs(x) > 1e-30), min_size=1),
    "one_drop": st.booleans(),
    "booster": st.just("dart"),
    "eval_metric": st.lists(st.sampled_from(["rmse", "mae", "r2", "mse"]), min_size=1),
    "monotone_constraints": st.lists(st.integers(-1, 1)).map(tuple)
    | st.dictionaries(st.text(), st.integers(-1, 1)),
    "interaction_constraints": st.lists(st.lists(st.integers(0, 99)))
    | st.lists(st.lists(st.text(), min_size=1), min_size=1),
}


@given(st.fixed_dictionaries({"num_round": st.integers(1, 10**6)}, optional=VALUES))
def test_texts_mean_the_same_as_values(values):
    values |= {"booster": "dart"} if "one_drop" in values else {}
    texts = {name: str(value) for name, value in values.items()}
    encoded = {
        name: json.dumps(list(value) if isinstance(value, tuple) else value)
        for name, value in values.items()
    }
    assert parse(texts) == parse(values) == parse(encoded)
