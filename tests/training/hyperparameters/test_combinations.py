import re
import warnings

import numpy as np
import pytest
import xgboost as xgb

from mme_training.errors import UserError
from mme_training.fit import parameters
from mme_training.hyperparameters import combinations
from mme_training.hyperparameters.parse import parse

MULTI = {"objective": "multi:softprob", "num_class": 3}
LINEAR = {"booster": "gblinear"}
EXACT = {"tree_method": "exact"}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"objective": "multi:softmax"}, "objective multi:softmax needs num_class"),
        ({"num_class": 3, "objective": "binary:logistic"}, "num_class is for objective multi:"),
        ({"objective": "reg:quantileerror"}, "reg:quantileerror needs quantile_alpha"),
        ({"eval_metric": "quantile"}, "eval_metric quantile needs quantile_alpha"),
        ({"quantile_alpha": 0.5}, "quantile_alpha has an effect only with objective reg:quantile"),
        (
            {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5], "eval_metric": "mae"},
            "eval_metric mae with objective reg:quantileerror takes one quantile_alpha",
        ),
        (
            {"quantile_alpha": [0.1, 0.5], "eval_metric": "quantile"},
            "eval_metric quantile with objective reg:squarederror takes one quantile_alpha",
        ),
        ({**MULTI, "base_score": "[0.5, 0.5]"}, "base_score must be one value or 3"),
        ({"objective": "reg:logistic", "base_score": 1}, "base_score must be in (0, 1)"),
        ({"objective": "binary:logistic", "base_score": [0]}, "base_score must be in (0, 1)"),
        ({"objective": "binary:logistic", "base_score": 0.999999999}, "base_score must be in"),
        ({"objective": "reg:gamma", "base_score": 0}, "base_score must be above 0"),
        ({"objective": "count:poisson", "base_score": -1}, "base_score must be 0 or above"),
        ({"objective": "reg:pseudohubererror", "huber_slope": 0}, "huber_slope must not be 0"),
        ({"huber_slope": 2}, "huber_slope has an effect only with objective reg:pseudohubererror"),
        ({"eval_metric": "auc"}, "eval_metric auc needs objective binary:*"),
        ({"eval_metric": "accuracy"}, "eval_metric accuracy needs objective binary:*"),
        ({"eval_metric": "merror"}, "eval_metric merror needs objective multi:*"),
        ({**MULTI, "eval_metric": "logloss"}, "logloss does not go with objective multi:softprob"),
        ({**MULTI, "eval_metric": "f1_binary"}, "f1_binary is of two classes: use f1_macro"),
        ({**MULTI, "eval_metric": "recall"}, "recall is of two classes: use recall_macro"),
        ({**MULTI, "eval_metric": "r2"}, "eval_metric r2 is of numbers"),
        ({"eval_metric": "aft-nloglik"}, "aft-nloglik needs objective survival:aft"),
        (
            {"_tuning_objective_metric": "validation:auc"},
            "eval_metric auc needs objective binary:*",
        ),
        (
            {"early_stopping_rounds": 3, "disable_default_eval_metric": 1},
            "early_stopping_rounds needs an eval_metric",
        ),
        ({"process_type": "update", "updater": "refresh"}, "process_type update needs a model"),
        ({**EXACT, "max_depth": 0}, "max_depth 0 does not go with exact"),
        ({**EXACT, "max_leaves": 4}, "max_leaves 4 does not go with exact"),
        ({**EXACT, "grow_policy": "lossguide"}, "grow_policy lossguide does not go with exact"),
        ({**EXACT, "colsample_bynode": 0.5}, "colsample_bynode 0.5 does not go with exact"),
        ({**EXACT, "sampling_method": "gradient_based"}, "sampling_method gradient_based does"),
        ({**EXACT, "device": "cuda"}, "device cuda does not go with exact"),
        ({"updater": "grow_colmaker,prune", "max_leaves": 4}, "max_leaves 4 does not go with"),
        ({"multi_strategy": "multi_output_tree", **EXACT}, "multi_output_tree needs tree_method"),
        ({"multi_strategy": "multi_output_tree", "booster": "dart"}, "multi_output_tree needs"),
        ({"updater": "prune"}, "updater must begin with one grow_"),
        ({"updater": "sync"}, "updater must begin with one grow_"),
        ({"updater": "grow_colmaker,grow_histmaker"}, "updater must begin with one grow_"),
        ({"updater": "shotgun"}, "updater shotgun needs booster gblinear"),
        ({"updater": "grow_gpu_hist"}, "updater grow_gpu_hist needs device cuda"),
        ({**LINEAR, "updater": "grow_colmaker"}, "updater must be shotgun or coord_descent"),
        ({**LINEAR, "updater": "shotgun,coord_descent"}, "updater must be shotgun or"),
        ({**LINEAR, "feature_selector": "greedy"}, "feature_selector greedy needs updater coord"),
        ({**LINEAR, "monotone_constraints": "(1,)"}, "monotone_constraints needs booster gbtree"),
        ({**LINEAR, "interaction_constraints": "[[0]]"}, "interaction_constraints needs booster"),
        ({"feature_selector": "shuffle"}, "feature_selector has an effect only with booster gblin"),
        ({"rate_drop": 0.1}, "rate_drop has an effect only with booster dart"),
        ({"lambdarank_unbiased": True}, "lambdarank_unbiased has an effect only with objective ra"),
        ({"ndcg_exp_gain": False}, "ndcg_exp_gain has an effect only with objective rank:*"),
        ({"tweedie_variance_power": 1.2}, "tweedie_variance_power has an effect only with"),
        ({"aft_loss_distribution": "logistic"}, "aft_loss_distribution has an effect only with"),
        ({"default_direction": "left"}, "default_direction has an effect only with tree_method ex"),
        ({"_num_cv_round": 2}, "_num_cv_round has an effect only with _kfold"),
    ],
    ids=str,
)
def test_refused(given, problem):
    with pytest.raises(UserError) as caught:
        parse({"num_round": 1, **given})
    assert problem in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "given",
    [
        {"num_class": 3, "eval_metric": "merror"},  # XGBoost takes multi:softmax.
        {"monotone_constraints": "(1,0)"},  # AWS's image wants the tree method to be named.
        {"interaction_constraints": "[[0,1]]", "tree_method": "auto"},
        {"objective": "reg:logistic", "eval_metric": "auc,accuracy"},
        {"objective": "binary:logitraw", "base_score": -1},
        {"objective": "rank:ndcg", "eval_metric": "auc"},
        {"objective": "multi:softmax", "num_class": 2, "eval_metric": "f1_binary,precision,recall"},
        {"objective": "multi:softmax", "num_class": 3, "eval_metric": "mse"},
        {"eval_metric": "quantile", "quantile_alpha": 0.5},
        {"eval_metric": "mphe", "huber_slope": 2},
        {"objective": "reg:quantileerror", "quantile_alpha": "0.1,0.5", "eval_metric": "quantile"},
        {"objective": "reg:quantileerror", "quantile_alpha": [0.5], "eval_metric": "mae"},
        {"objective": "multi:softmax", "num_class": 3, "base_score": [0.1, 0.2, 0.3]},
        {"eval_metric": "ndcg@5", "ndcg_exp_gain": "false"},
        {"max_depth": 0},
        {"grow_policy": "lossguide", "max_depth": 0, "max_leaves": 8},
        {"scale_pos_weight": 2, "objective": "survival:cox"},
        {"booster": "gblinear", "process_type": "default"},
        {"_kfold": 5, "early_stopping_rounds": 5},
        {"_kfold": 5, "_num_cv_round": 2},
    ],
    ids=str,
)
def test_accepted(given):
    assert parse({"num_round": 1, **given})


def test_a_default_that_has_no_effect_is_left_out(caplog):
    given = {"rate_drop": "0.0", "sample_type": "uniform", "tweedie_variance_power": "1.5",
             "_num_cv_round": "1"}  # fmt: skip
    assert parse({"num_round": 1, **given}).booster == {}
    assert caplog.text == ""


def test_settings_of_trees_beside_a_linear_model_are_ignored(caplog):
    given = {"num_round": 1, **LINEAR, "max_depth": 3, "tree_method": "hist", "eta": 0.1}
    assert parse(given).booster == {"booster": "gblinear", "eta": 0.1}
    assert caplog.messages == [
        "hyperparameter max_depth has an effect only with booster gbtree or booster dart; "
        "it is ignored",
        "hyperparameter tree_method has an effect only with booster gbtree or booster dart; "
        "it is ignored",
    ]


def test_every_rule_says_what_it_looks_at():
    for rule in combinations.RULES:
        assert rule.names
        assert re.match(r"[`a-z]", rule.says)


OBJECTIVES = ["reg:squarederror", "binary:logistic", "binary:hinge", "multi:softprob", "rank:ndcg"]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    "metric",
    ["rmse", "mae", "logloss", "error", "merror", "mlogloss", "auc", "aucpr", "ndcg", "map",
     "aft-nloglik", "poisson-nloglik"],
)  # fmt: skip
def test_xgboost_can_compute_what_is_accepted_and_refuses_most_of_the_rest(objective, metric):
    random = np.random.default_rng(0)
    data = xgb.DMatrix(random.random((40, 2)), label=random.integers(0, 2, 40))
    given = {"objective": objective, "num_round": 1, "nthread": 1}
    given |= {"num_class": 2} if objective.startswith("multi:") else {}
    if objective.startswith("rank:"):
        data.set_info(qid=np.repeat(np.arange(4), 10))

    def train(params):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            xgb.train({**params, "eval_metric": metric}, data, 1, evals=[(data, "train")],
                      verbose_eval=False)  # fmt: skip

    try:
        accepted = parse({**given, "eval_metric": metric})
    except UserError:
        if metric != "auc":  # AWS's image too refuses it beside regression.
            with pytest.raises(xgb.core.XGBoostError):
                train(parameters(parse(given)))
    else:
        train(parameters(accepted))
