"""What ends a training with a reason: who can mend it decides the class, the message says how.

The message is what ``/opt/ml/output/failure`` holds and SageMaker shows as FailureReason, so it is
whole without the log: what happened, where, and what to do.
"""

from __future__ import annotations


class TrainingError(Exception):
    """Base of all errors that this package raises on purpose."""


class UserError(TrainingError):
    """The user can mend it: a hyperparameter, a channel, the data, the code of script mode."""


class AlgorithmError(TrainingError):
    """XGBoost failed on data and hyperparameters that looked right, or this package did."""
