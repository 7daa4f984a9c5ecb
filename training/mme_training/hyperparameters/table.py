"""Every hyperparameter that a training takes, in one table: it checks them, and is the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from mme_training.hyperparameters.kinds import (
    MAX_INT64,
    Boolean,
    Choice,
    Device,
    Integer,
    Interactions,
    Kind,
    Metrics,
    Monotone,
    Number,
    Numbers,
    TuningMetrics,
    Updaters,
)


class Group(Enum):
    """The groups of the page, in its order, with their headings."""

    TRAINING = "Training"
    GENERAL = "XGBoost in general"
    TREE = "Trees"
    CATEGORICAL = "Categorical columns"
    DART = "Dart"
    LINEAR = "Linear models"
    OBJECTIVE = "Objective"
    RANKING = "Ranking"
    SURVIVAL = "Survival"


class Source(Enum):
    """Who defines a hyperparameter."""

    BOTH = "AWS, XGBoost"
    AWS = "AWS"
    XGBOOST = "XGBoost"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One hyperparameter, under XGBoost's own name where XGBoost has it.

    `only` says with what it has an effect: a value of any of these hyperparameters that begins with
    any of these texts; empty if always.
    """

    name: str
    group: Group
    kind: Kind
    meaning: str
    default: Any = None
    """None if XGBoost chooses; otherwise what being left out amounts to."""
    source: Source = Source.BOTH
    aliases: tuple[str, ...] = ()
    tunable: tuple[float, float] | None = None
    """The range that AWS recommends for tuning."""
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    example: Any = None
    """A value other than the default."""


OBJECTIVES: Final = {
    "reg:squarederror": "squared error",
    "reg:squaredlogerror": "squared error of logarithms; labels above -1",
    "reg:logistic": "logistic loss; labels and predictions from 0 to 1",
    "reg:pseudohubererror": "pseudo-Huber error, see `huber_slope`",
    "reg:absoluteerror": "absolute error",
    "reg:quantileerror": "pinball loss, see `quantile_alpha`; a prediction for each quantile",
    "reg:gamma": "gamma regression; labels above 0",
    "reg:tweedie": "Tweedie regression, see `tweedie_variance_power`; labels from 0",
    "count:poisson": "Poisson regression; labels from 0",
    "binary:logistic": "two classes, predicts the probability of class 1",
    "binary:logitraw": "two classes, predicts the log-odds of class 1",
    "binary:hinge": "two classes, predicts 0 or 1",
    "multi:softmax": "`num_class` classes, predicts the class",
    "multi:softprob": "`num_class` classes, predicts the probability of each",
    "rank:pairwise": "ranking by pairs",
    "rank:ndcg": "ranking for the best NDCG",
    "rank:map": "ranking for the best mean average precision; labels 0 and 1",
    "survival:cox": "Cox regression; a negative label is right-censored",
    "survival:aft": "accelerated failure time; needs bounds of the labels",
}

_TREES: Final = {"booster": ("gbtree", "dart")}
_DART: Final = {"booster": ("dart",)}
_LINEAR: Final = {"booster": ("gblinear",)}
_RANK: Final = {"objective": ("rank:",)}
_EXACT: Final = {"tree_method": ("exact",), "updater": ("grow_colmaker",)}
_SHARE: Final = Number(0, 1, open_low=True)
_ON_OFF: Final = Boolean()

TREE_UPDATERS: Final = (
    "grow_colmaker",
    "grow_histmaker",
    "grow_quantile_histmaker",
    "grow_gpu_hist",
    "grow_gpu_approx",
    "sync",
    "refresh",
    "prune",
)
LINEAR_UPDATERS: Final = ("shotgun", "coord_descent")

P: Final = Parameter
# fmt: off
_TRAINING = (
    P("num_round", Group.TRAINING, Integer(1), "how many rounds to train; required",
      source=Source.AWS, tunable=(1, 4000), example=10),
    P("early_stopping_rounds", Group.TRAINING, Integer(1),
      "stop once the last metric has not improved on `validation` for so many rounds",
      source=Source.AWS, example=5),
    P("eval_metric", Group.TRAINING, Metrics(),
      "what to log after each round; the last one stops early; default by the objective",
      example="auc"),
    P("_tuning_objective_metric", Group.TRAINING, TuningMetrics(),
      "set by SageMaker's tuning: joins `eval_metric` as its last", source=Source.AWS,
      example="validation:rmse"),
    P("csv_weights", Group.TRAINING, _ON_OFF,
      "whether the second column of CSV holds weights of rows", False, Source.AWS, example=True),
    P("_kfold", Group.TRAINING, Integer(2), "train so many models, each without one fold",
      source=Source.AWS, example=5),
    P("_num_cv_round", Group.TRAINING, Integer(1), "how often to draw the folds anew", 1,
      Source.AWS, only={"_kfold": ("",)}, example=2),
    P("save_model_on_termination", Group.TRAINING, _ON_OFF,
      "whether a job that is stopped leaves the best model so far", True, Source.AWS,
      example=False),
    P("use_dask_gpu_training", Group.TRAINING, _ON_OFF,
      "whether to train on all GPUs of all instances", False, Source.AWS, example=True),
)
_GENERAL = (
    P("booster", Group.GENERAL, Choice(("gbtree", "gblinear", "dart")),
      "trees, a linear model, or trees of which some are dropped in each round", "gbtree",
      example="dart"),
    P("device", Group.GENERAL, Device(), "where to train", "cpu", Source.XGBOOST, example="cuda"),
    P("nthread", Group.GENERAL, Integer(-1), "threads; 0 or -1: one for each CPU",
      aliases=("n_jobs",), example=2),
    P("seed", Group.GENERAL, Integer(-MAX_INT64 - 1, MAX_INT64), "seed of all sampling", 0,
      aliases=("random_state",), example=7),
    P("seed_per_iteration", Group.GENERAL, _ON_OFF, "seed anew in each round, by its number",
      False, Source.XGBOOST, example=True),
    P("verbosity", Group.GENERAL, Integer(0, 3), "how much XGBoost says: 0 nothing, 3 all", 1,
      example=2),
    P("validate_parameters", Group.GENERAL, _ON_OFF,
      "changes nothing: all names are checked in any case", True, Source.XGBOOST, example=False),
    P("fail_on_invalid_gpu_id", Group.GENERAL, _ON_OFF,
      "fail if `device` has no such GPU, and do not take another", False, Source.XGBOOST,
      example=True),
    P("disable_default_eval_metric", Group.GENERAL, _ON_OFF,
      "log no metric if `eval_metric` names none", False, Source.XGBOOST, example=True),
)
_TREE = (
    P("eta", Group.TREE, Number(), "how much of each new tree counts", 0.3,
      aliases=("learning_rate",), tunable=(0.1, 0.5), example=0.1),
    P("gamma", Group.TREE, Number(), "least loss that a split must save", 0.0,
      aliases=("min_split_loss",), tunable=(0, 5), only=_TREES, example=1.0),
    P("max_depth", Group.TREE, Integer(), "greatest depth of a tree; 0: no limit", 6,
      tunable=(0, 10), only=_TREES, example=3),
    P("min_child_weight", Group.TREE, Number(), "least sum of hessians in a leaf", 1.0,
      tunable=(0, 120), only=_TREES, example=2.0),
    P("max_delta_step", Group.TREE, Number(),
      "greatest value of a leaf before `eta`; 0: no limit; default 0.7 with count:poisson", 0.0,
      tunable=(0, 10), only={**_TREES, "objective": ("count:poisson",)}, example=1.0),
    P("subsample", Group.TREE, _SHARE, "share of the rows that each tree sees", 1.0,
      tunable=(0.5, 1), only=_TREES, example=0.5),
    P("sampling_method", Group.TREE, Choice(("uniform", "gradient_based")),
      "whether rows are drawn alike, or those with large gradients more often", "uniform",
      only=_TREES, example="gradient_based"),
    P("colsample_bytree", Group.TREE, _SHARE, "share of the columns that each tree sees", 1.0,
      tunable=(0.5, 1), only=_TREES, example=0.5),
    P("colsample_bylevel", Group.TREE, _SHARE, "share of these that each level sees", 1.0,
      tunable=(0.1, 1), only=_TREES, example=0.5),
    P("colsample_bynode", Group.TREE, _SHARE, "share of these that each split sees", 1.0,
      tunable=(0.1, 1), only=_TREES, example=0.5),
    P("lambda", Group.TREE, Number(), "L2 regularization; default 0 with gblinear", 1.0,
      aliases=("reg_lambda",), tunable=(0, 1000), example=2.0),
    P("alpha", Group.TREE, Number(), "L1 regularization", 0.0, aliases=("reg_alpha",),
      tunable=(0, 1000), example=1.0),
    P("tree_method", Group.TREE, Choice(("auto", "exact", "approx", "hist")),
      "how splits are sought; `auto` is `hist`", "auto", only=_TREES, example="hist"),
    P("updater", Group.TREE, Updaters((*TREE_UPDATERS, *LINEAR_UPDATERS)),
      "steps that build a tree, in place of `tree_method`; with gblinear one of the last two",
      example="grow_histmaker"),
    P("process_type", Group.TREE, Choice(("default", "update")),
      "build trees; `update` is refused", "default",
      only=_TREES, example="default"),
    P("refresh_leaf", Group.TREE, _ON_OFF, "whether the updater `refresh` updates leaves", True,
      only=_TREES, example=False),
    P("grow_policy", Group.TREE, Choice(("depthwise", "lossguide")),
      "split the nodes nearest to the root first, or those that save most loss", "depthwise",
      only=_TREES, example="lossguide"),
    P("max_leaves", Group.TREE, Integer(), "most leaves of a tree; 0: no limit", 0, only=_TREES,
      example=8),
    P("max_bin", Group.TREE, Integer(2), "most bins of a column, for hist and approx", 256,
      only=_TREES, example=32),
    P("num_parallel_tree", Group.TREE, Integer(1), "trees in each round, as in a forest", 1,
      only=_TREES, example=2),
    P("monotone_constraints", Group.TREE, Monotone(),
      "whether predictions rise (1) or fall (-1) with a column", (), only=_TREES,
      example=(1, 0, -1)),
    P("interaction_constraints", Group.TREE, Interactions(),
      "groups of columns that may meet in a branch", only=_TREES, example="[[0, 1], [2]]"),
    P("multi_strategy", Group.TREE, Choice(("one_output_per_tree", "multi_output_tree")),
      "a tree for each output, or trees with all outputs", "one_output_per_tree",
      Source.XGBOOST, only=_TREES, example="multi_output_tree"),
    P("max_cached_hist_node", Group.TREE, Integer(1, MAX_INT64),
      "most histograms to keep while a tree grows, for hist and approx", None, Source.XGBOOST,
      only=_TREES, example=64),
    P("sparse_threshold", Group.TREE, Number(0, 1),
      "share of filled cells below which hist stores a column as sparse", 0.2, Source.XGBOOST,
      only=_TREES, example=0.5),
    P("opt_dense_col", Group.TREE, Number(0, 1), "a speed setting of exact", 1.0, Source.XGBOOST,
      only=_EXACT, example=0.5),
    P("default_direction", Group.TREE, Choice(("learn", "left", "right")),
      "where exact sends missing values", "learn", Source.XGBOOST, only=_EXACT, example="left"),
    P("debug_synchronize", Group.TREE, _ON_OFF, "check that all instances built the same tree",
      False, Source.XGBOOST, only=_TREES, example=True),
)
_CATEGORICAL = (
    P("max_cat_to_onehot", Group.CATEGORICAL, Integer(1),
      "columns with fewer categories are split one against the rest", 4, Source.XGBOOST,
      only=_TREES, example=2),
    P("max_cat_threshold", Group.CATEGORICAL, Integer(1), "most categories weighed in a split",
      64, Source.XGBOOST, only=_TREES, example=8),
)
_DARTS = (
    P("sample_type", Group.DART, Choice(("uniform", "weighted")),
      "whether trees are dropped alike or by weight", "uniform", only=_DART, example="weighted"),
    P("normalize_type", Group.DART, Choice(("tree", "forest")),
      "whether a new tree weighs as each dropped one or as all", "tree", only=_DART,
      example="forest"),
    P("rate_drop", Group.DART, Number(0, 1), "share of the trees to drop", 0.0, only=_DART,
      example=0.5),
    P("one_drop", Group.DART, _ON_OFF, "drop one tree at least", False, only=_DART, example=True),
    P("skip_drop", Group.DART, Number(0, 1), "probability that a round drops none", 0.0,
      only=_DART, example=0.5),
)
_LINEARS = (
    P("feature_selector", Group.LINEAR,
      Choice(("cyclic", "shuffle", "thrifty", "greedy", "random")),
      "in which order columns are updated", "cyclic", Source.XGBOOST, only=_LINEAR,
      example="shuffle"),
    P("top_k", Group.LINEAR, Integer(), "most columns for greedy and thrifty; 0: no limit", 0,
      Source.XGBOOST, only={"feature_selector": ("greedy", "thrifty")}, example=2),
    P("tolerance", Group.LINEAR, Number(), "stop a round once no weight changes more", 0.0,
      Source.XGBOOST, only=_LINEAR, example=0.1),
    P("max_row_perbatch", Group.LINEAR, Integer(1, MAX_INT64), "has no effect in this XGBoost",
      None, Source.XGBOOST, only=_LINEAR, example=100),
)
_OBJECTIVE = (
    P("objective", Group.OBJECTIVE, Choice(tuple(OBJECTIVES)),
      "what to learn, see [objectives](#objectives); if left out, multi:softmax with `num_class`",
      "reg:squarederror", example="binary:logistic"),
    P("num_class", Group.OBJECTIVE, Integer(2), "how many classes multi:* has", example=3),
    P("base_score", Group.OBJECTIVE, Numbers(Number(-float("inf"))),
      "prediction before the first tree, one or one for each output; default from the labels",
      example=0.25),
    P("scale_pos_weight", Group.OBJECTIVE, Number(), "weight of rows with label 1", 1.0,
      example=2.0),
    P("tweedie_variance_power", Group.OBJECTIVE, Number(1, 2, open_low=True, open_high=True),
      "power of the variance, from Poisson to gamma", 1.5,
      only={"objective": ("reg:tweedie",), "eval_metric": ("tweedie-nloglik",)}, example=1.25),
    P("huber_slope", Group.OBJECTIVE, Number(-float("inf")),
      "delta of the pseudo-Huber loss, not 0", 1.0, Source.XGBOOST,
      only={"objective": ("reg:pseudohubererror",), "eval_metric": ("mphe",)}, example=2.0),
    P("quantile_alpha", Group.OBJECTIVE, Numbers(Number(0, 1)),
      "which quantiles to predict; required with reg:quantileerror", None, Source.XGBOOST,
      only={"objective": ("reg:quantileerror",), "eval_metric": ("quantile",)},
      example=[0.1, 0.5]),
)
_RANKING = (
    P("lambdarank_pair_method", Group.RANKING, Choice(("topk", "mean")),
      "pairs with the first rows of a query, or drawn ones", "topk", Source.XGBOOST, only=_RANK,
      example="mean"),
    P("lambdarank_num_pair_per_sample", Group.RANKING, Integer(1),
      "how many first rows (topk; 32 if left out), or pairs for each row (mean; 1)", None,
      Source.XGBOOST, only=_RANK, example=4),
    P("lambdarank_normalization", Group.RANKING, _ON_OFF, "normalize the gradients of a query",
      True, Source.XGBOOST, only=_RANK, example=False),
    P("lambdarank_score_normalization", Group.RANKING, _ON_OFF,
      "normalize by the difference of the two scores", True, Source.XGBOOST, only=_RANK,
      example=False),
    P("lambdarank_unbiased", Group.RANKING, _ON_OFF, "correct for the position of clicks", False,
      Source.XGBOOST, only=_RANK, example=True),
    P("lambdarank_bias_norm", Group.RANKING, Number(), "the norm for that correction", 1.0,
      Source.XGBOOST, only=_RANK, example=2.0),
    P("ndcg_exp_gain", Group.RANKING, _ON_OFF, "gain 2^label - 1, and not the label itself", True,
      Source.XGBOOST, only={**_RANK, "eval_metric": ("ndcg",)}, example=False),
)
_AFT: Final = {"objective": ("survival:aft",)}
_SURVIVAL = (
    P("aft_loss_distribution", Group.SURVIVAL, Choice(("normal", "logistic", "extreme")),
      "distribution of the noise", "normal", only=_AFT, example="logistic"),
    P("aft_loss_distribution_scale", Group.SURVIVAL, Number(), "its scale", 1.0,
      only=_AFT, example=2.0),
)
# fmt: on

PARAMETERS: Final = {
    parameter.name: parameter
    for parameter in (
        *_TRAINING, *_GENERAL, *_TREE, *_CATEGORICAL, *_DARTS, *_LINEARS, *_OBJECTIVE, *_RANKING,
        *_SURVIVAL,
    )
}  # fmt: skip
"""Every hyperparameter by its name, in the order of the page."""
ALIASES: Final = {
    alias: parameter.name for parameter in PARAMETERS.values() for alias in parameter.aliases
}
"""Other names, and the name in the table that each stands for."""
