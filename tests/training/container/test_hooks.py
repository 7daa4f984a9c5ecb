"""What hooks return is checked before it is used, and named when it is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from scipy import sparse

from mme_training.container.hooks import Reader, functions, load_hooks
from mme_training.container.user_code import UserCode
from mme_training.data.dataset import Dataset
from mme_training.errors import UserError

MATRIX = xgb.DMatrix(np.zeros((4, 2)), np.zeros(4), nthread=1)


def _code(root: Path, source: str) -> UserCode:
    program = root / f"{root.name}.py"  # A name of its own: it becomes a module.
    program.write_text("import sys\nimport numpy as np\nfrom scipy import sparse\n" + source)
    return UserCode(root, program)


def _read(root: Path, returned: str) -> Dataset | None:
    code = _code(root, f"def read_fn(directory, content_type):\n    return {returned}\n")
    return Reader(root, None, False, code)()


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("None", "must return features and label, or features, label and weight, not NoneType"),
        ("np.ones((4, 2))", r"not ndarray of shape \(4, 2\)"),
        ("([[1, 2]], [1])", "frame of rows and columns, not list"),
        ("(np.ones(4), np.ones(4))", r"columns, not ndarray of shape \(4,\)"),
        ("(np.ones((0, 2)), np.ones(0))", r"columns, not ndarray of shape \(0, 2\)"),
        ("(np.ones((4, 2)), np.ones(3))", r"4 rows of features, and a label of the shape \(3,\)"),
        ("(np.ones((4, 2)), 1)", r"4 rows of features, and a label of the shape \(\)"),
        ("(np.ones((4, 2)), np.ones(4), [1])", r"and a weight of the shape \(1,\)"),
        ("(np.ones((4, 2)), ['a'] * 4)", "read_fn of the channel .* failed: ValueError"),
        ("sys.exit(0)", r"read_fn of the channel .* ended the process: sys.exit\(0\)"),
    ],
)
def test_what_is_no_data_is_refused(tmp_path, returned: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        _read(tmp_path, returned)


def test_any_sparse_matrix_becomes_one_of_rows(tmp_path) -> None:
    found = _read(tmp_path, "sparse.csc_matrix(np.eye(3)), [1, 2, 3]")
    assert found is not None
    assert sparse.isspmatrix_csr(found.features)
    assert found.label.dtype == np.float32


def test_a_program_that_ends_the_process_fails(tmp_path) -> None:
    with pytest.raises(UserError, match=r"ended the process: sys.exit\('done'\)"):
        load_hooks(_code(tmp_path, "sys.exit('done')"))


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("None", "must return a name and a number, or a list of them, not NoneType"),
        ("3.0", "not float"),
        ("('m', 'x')", "not tuple"),
        ("[('m', 1.0), 2]", "not int"),
        ("('my metric', 1.0)", "a metric's name has no blank and no colon: 'my metric'"),
        ("('a:b', 1.0)", "no colon"),
        ("sys.exit()", r"metric_fn ended the process: sys.exit\(None\)"),
    ],
)
def test_what_is_no_metric_is_refused(tmp_path, returned: str, expected: str) -> None:
    code = _code(tmp_path, f"def metric_fn(predictions, dtrain):\n    return {returned}\n")
    metric: Any = functions(code).metric
    with pytest.raises(UserError, match=expected):
        metric(np.zeros(4), MATRIX)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("None", "must return gradient and hessian, not NoneType"),
        ("(np.ones(3), np.ones(3))", "3 values for 4 rows"),
        ("(np.ones(4), np.ones(0))", "0 values for 4 rows"),
        ("sys.exit()", "objective_fn ended the process"),
    ],
)
def test_what_is_no_gradient_is_refused(tmp_path, returned: str, expected: str) -> None:
    code = _code(tmp_path, f"def objective_fn(predictions, dtrain):\n    return {returned}\n")
    objective: Any = functions(code).objective
    with pytest.raises(UserError, match=expected):
        objective(np.zeros(4), MATRIX)


def test_what_is_right_is_passed_on(tmp_path) -> None:
    code = _code(
        tmp_path,
        "def metric_fn(predictions, dtrain):\n    return [('a', np.float32(1)), ('b', 2)]\n"
        "def objective_fn(predictions, dtrain):\n    return predictions, predictions + 1\n",
    )
    own: Any = functions(code)
    assert own.metric(np.zeros(4), MATRIX) == [("a", 1.0), ("b", 2.0)]
    gradient, hessian = own.objective(np.zeros((4, 3)), MATRIX)
    assert gradient.shape == hessian.shape == (4, 3)
