"""The table against the XGBoost that is installed, and against what AWS's image takes."""

import json
import re
import warnings

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st

from mme_training.errors import UserError
from mme_training.fit import parameters
from mme_training.hyperparameters import retired
from mme_training.hyperparameters.kinds import Choice, Integer, Number
from mme_training.hyperparameters.parse import parse
from mme_training.hyperparameters.table import ALIASES, OBJECTIVES, PARAMETERS, Group
from mme_training.metrics import METRICS

BOOSTER = [one for one in PARAMETERS.values() if one.group is not Group.TRAINING]

# What AWS's image declares, without its aliases.
AWS = [
    "num_round", "csv_weights", "early_stopping_rounds", "booster", "verbosity", "nthread",
    "eta", "gamma", "max_depth", "min_child_weight", "max_delta_step", "subsample",
    "colsample_bytree", "colsample_bylevel", "colsample_bynode", "lambda", "alpha",
    "tree_method", "sketch_eps", "scale_pos_weight", "updater", "dsplit", "refresh_leaf",
    "process_type", "grow_policy", "max_leaves", "max_bin", "predictor", "monotone_constraints",
    "interaction_constraints", "sample_type", "normalize_type", "rate_drop", "one_drop",
    "skip_drop", "lambda_bias", "tweedie_variance_power", "objective", "num_class",
    "base_score", "_kfold", "_num_cv_round", "_tuning_objective_metric", "eval_metric", "seed",
    "num_parallel_tree", "save_model_on_termination", "aft_loss_distribution",
    "aft_loss_distribution_scale", "deterministic_histogram", "sampling_method",
    "prob_buffer_row", "use_dask_gpu_training",
]  # fmt: skip

NOT_FOR_USERS = {
    "num_feature",  # Follows from the data.
    "num_target",  # Follows from the labels.
    "num_trees",  # Counts what was trained.
    "boost_from_average",  # What base_score says, as a number that XGBoost sets itself.
    "updater_seq",  # What XGBoost calls updater inside.
}

NEEDS = {
    "num_class": {"objective": "multi:softprob"},
    "quantile_alpha": {"objective": "reg:quantileerror"},
    "top_k": {"booster": "gblinear", "updater": "coord_descent", "feature_selector": "greedy"},
}


@pytest.fixture(autouse=True)
def _say_warnings():
    """`verbosity` as a hyperparameter stays with the process."""
    with xgb.config_context(verbosity=1):
        yield


def matrix(objective):
    random = np.random.default_rng(0)
    data = xgb.DMatrix(random.random((60, 3), np.float32))
    label = random.integers(0, 3 if objective.startswith("multi:") else 2, 60).astype(np.float32)
    data.set_label(label + 1 if objective == "reg:gamma" else label)
    if objective.startswith("rank:"):
        data.set_info(qid=np.repeat(np.arange(6), 10))
    if objective == "survival:aft":
        data.set_info(label_lower_bound=label + 1, label_upper_bound=label + 2)
    return data


def train(given):
    """Booster, what XGBoost warned of, and what it logged."""
    objective = given.get("objective", "reg:squarederror")
    data, log = matrix(objective), {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        booster = xgb.train(
            parameters(parse({"num_round": 2, **given}), nthread=1),
            data,
            2,
            evals=[(data, "train")],
            evals_result=log,
            verbose_eval=False,
        )
    return booster, [str(warning.message) for warning in caught], log.get("train", {})


def context(parameter):
    """What the parameter needs to have an effect."""
    fitting = {
        key: prefixes[0] + ("ndcg" if prefixes[0] == "rank:" else "")
        for key, prefixes in list(parameter.only.items())[:1]
    }
    return {**fitting, **NEEDS.get(parameter.name, {})}


def config_of(given):
    """Names and values of every parameter that XGBoost says it has."""
    found = {}

    def walk(node):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if str(key).endswith("_param"):
                found.update(value)
            elif isinstance(value, (dict, list)):
                walk(value)

    walk(json.loads(train(given)[0].save_config()))
    return found


CONFIGURATIONS = [
    {},
    {"booster": "dart"},
    {"booster": "gblinear"},
    {"booster": "gblinear", "updater": "coord_descent", "feature_selector": "greedy"},
    {"tree_method": "exact"},
    {"tree_method": "approx"},
    *({"objective": name, **({"num_class": 3} if name.startswith("multi:") else {}),
       **({"quantile_alpha": 0.5} if name == "reg:quantileerror" else {})} for name in OBJECTIVES),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (one.name, value)
        for one in BOOSTER
        for value in (one.default, one.example)
        if value is not None and value != ()
    ],
)
def test_xgboost_takes_and_uses_it(name, value):
    parameter = PARAMETERS[name]
    given = {**context(parameter), name: value}
    if given.get("objective", "").startswith("multi:"):
        given["num_class"] = 3
    _, warned, _ = train(given)
    assert not [text for text in warned if "are not used" in text]


def ends(parameter):
    kind = getattr(parameter.kind, "each", parameter.kind)
    if isinstance(kind, Integer):
        return [kind.low]
    if isinstance(kind, Number):
        low = [] if kind.open_low or np.isinf(kind.low) else [kind.low]
        return low + ([] if kind.open_high or np.isinf(kind.high) else [kind.high])
    return []


@pytest.mark.parametrize(
    ("name", "value"),
    [(one.name, value) for one in BOOSTER if one.name != "num_class" for value in ends(one)],
)
def test_xgboost_takes_the_ends_of_the_range(name, value):
    parameter = PARAMETERS[name]
    given = {**context(parameter), name: value}
    booster, _, _ = train(given)
    assert booster.num_boosted_rounds() > 0


def one_value(parameter):
    choices = getattr(parameter.kind, "choices", ())
    values = [*choices, parameter.default, parameter.example, *ends(parameter)]
    return st.sampled_from([value for value in values if value is not None])


ANY = {
    one.name: one_value(one)
    for one in BOOSTER
    if one.name not in ("device", "nthread", "verbosity", "num_class")
} | {"eval_metric": st.sampled_from([*METRICS, "ams@0.1", "ndcg@5"])}


@settings(max_examples=400,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(st.dictionaries(st.sampled_from(list(ANY)), st.none(), max_size=5), st.data())
def test_xgboost_trains_with_whatever_is_accepted(names, data):
    given = {name: data.draw(ANY[name]) for name in sorted({*names, "objective"})}
    given |= {"num_class": 3} if given["objective"].startswith("multi:") else {}
    # Whether labels suit a metric is seen in the data alone.
    assume(given["objective"] != "reg:gamma" or given.get("eval_metric") not in ("map", "pre"))
    try:
        parse({"num_round": 1, **given})
    except UserError:
        reject()
    assert train(given)[0].num_boosted_rounds() == 2


def test_a_parameter_that_xgboost_does_not_use_is_noticed():
    assert "are not used" in "".join(train({"scale_pos_weight": 2, "objective": "survival:cox"})[1])


@pytest.mark.parametrize("given", CONFIGURATIONS, ids=str)
def test_every_parameter_of_xgboost_is_in_the_table(given):
    assert set(config_of(given)) - set(PARAMETERS) - set(ALIASES) - NOT_FOR_USERS == set()


def test_the_exceptions_are_still_parameters_of_xgboost():
    assert set(config_of({})) >= NOT_FOR_USERS


def test_defaults_are_those_of_xgboost():
    theirs = {}
    for configuration in reversed(CONFIGURATIONS):
        theirs |= config_of(configuration)
    theirs |= config_of({"booster": "dart"}) | config_of({})
    checked = 0
    for parameter in BOOSTER:
        if parameter.default is None or parameter.name not in theirs:
            continue
        text, ours = theirs[parameter.name], parameter.default
        if isinstance(ours, bool):
            assert text in ("01"[ours], str(ours).lower()), parameter.name
        elif isinstance(ours, (int, float)):
            assert float(text) == pytest.approx(ours, rel=1e-6), parameter.name
        elif ours != ():
            assert text == ours, parameter.name
        checked += 1
    assert checked > 40


def test_aliases_are_those_of_xgboost():
    config = config_of({})
    assert all(config[alias] == config[name] for alias, name in ALIASES.items())


@pytest.mark.parametrize(
    "name",
    [
        one.name
        for one in BOOSTER
        if isinstance(one.kind, Choice) and one.name not in ("booster", "objective")
    ],
)
def test_choices_are_those_of_xgboost(name):
    parameter = PARAMETERS[name]
    given = dict(context(parameter))
    params = {**parameters(parse({"num_round": 1, **given}), 1), name: "nonsense"}
    with pytest.raises(xgb.core.XGBoostError, match="valid values are") as caught:
        xgb.train(params, matrix(given.get("objective", "")), 1)
    theirs = re.findall(r"'(\w+)'", str(caught.value).partition("valid values are")[2])
    assert set(theirs) == set(parameter.kind.choices)


def test_objectives_are_those_of_xgboost():
    with pytest.raises(xgb.core.XGBoostError) as caught:
        xgb.train({"objective": "nonsense"}, matrix(""), 1)
    theirs = set(re.findall(r"candidate: (\S+)", str(caught.value)))
    assert theirs == {*OBJECTIVES, "reg:linear"}
    assert ("objective", "reg:linear") in retired.VALUES


OBJECTIVE_OF = {
    "merror": "multi:softprob",
    "mlogloss": "multi:softprob",
    "aft-nloglik": "survival:aft",
    "interval-regression-accuracy": "survival:aft",
    "quantile": "reg:quantileerror",
    "tweedie-nloglik": "reg:tweedie",
    "map": "rank:map",
    "ndcg": "rank:ndcg",
    "pre": "rank:ndcg",
}
SPELLINGS = {
    "ams": ["ams@0.150", "ams@.1234567"],
    "error": ["error", "error@.70", "error@0.50", "error@1e-7"],
    "map": ["map", "map@3", "map-", "map@3-"],
    "ndcg": ["ndcg", "ndcg@5", "ndcg@05", "ndcg-", "ndcg@5-"],
    "pre": ["pre", "pre@2"],
    "tweedie-nloglik": ["tweedie-nloglik", "tweedie-nloglik@1.50"],
}


@pytest.mark.parametrize("name", [one.name for one in METRICS.values() if not one.own])
def test_metrics_are_xgboosts_and_logged_by_our_name(name):
    objective = OBJECTIVE_OF.get(name, "binary:logistic")
    more = {"num_class": 3} if objective.startswith("multi:") else {}
    more |= {"quantile_alpha": 0.5} if name == "quantile" else {}
    for spelling in SPELLINGS.get(name, [name]):
        given = {"objective": objective, "eval_metric": spelling, **more}
        _, _, logged = train(given)
        assert list(logged) == list(parse({"num_round": 1, **given}).eval_metric)


def test_nothing_that_awss_image_takes_is_unknown():
    assert [name for name in AWS if name not in {**PARAMETERS, **retired.NAMES}] == []
    aliases = {"learning_rate", "min_split_loss", "reg_lambda", "reg_alpha"}
    assert aliases <= set(ALIASES)
    ours = {name for name, one in PARAMETERS.items() if "AWS" in one.source.value}
    assert ours <= set(AWS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_defaults_and_examples_are_of_their_kind(name):
    parameter = PARAMETERS[name]
    for value in (parameter.default, parameter.example):
        if value is not None:
            assert parameter.kind.read(value) is not None
    assert parameter.example is not None
    assert parameter.meaning
    assert not parameter.meaning.endswith(".")


def test_texts_give_the_same_bytes_as_xgboost_called_directly():
    texts = {
        "num_round": "3",
        "objective": "multi:softprob",
        "num_class": "3",
        "learning_rate": "0.15",
        "max_depth": "4",
        "subsample": "0.7",
        "seed": "11",
        "reg_lambda": "0.5",
        "monotone_constraints": "(1, 0, -1)",
        "interaction_constraints": "[[0, 1], [2]]",
        "grow_policy": "lossguide",
        "max_leaves": "7",
        "eval_metric": "merror,mlogloss",
    }
    direct = {
        "objective": "multi:softprob",
        "num_class": 3,
        "eta": 0.15,
        "max_depth": 4,
        "subsample": 0.7,
        "seed": 11,
        "lambda": 0.5,
        "monotone_constraints": (1, 0, -1),
        "interaction_constraints": "[[0, 1], [2]]",
        "grow_policy": "lossguide",
        "max_leaves": 7,
    }
    data = matrix("multi:softprob")
    ours = xgb.train(parameters(parse(texts)), data, 3)
    theirs = xgb.train(direct, data, 3)
    assert ours.save_raw("ubj") == theirs.save_raw("ubj")
