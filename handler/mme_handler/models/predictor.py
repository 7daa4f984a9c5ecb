"""Predict with a loaded booster, as exactly as XGBoost does and sooner.

For one row most of `Booster.predict` is Python and the making of a `DMatrix`; the public C call
`XGBoosterPredictFromDense` needs neither. Knows libxgboost's C API; must not know files, request
bodies or content types.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Literal

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from xgboost.libpath import find_lib_path

from mme_handler.errors import BadRequestError, ModelError, OutOfMemoryError, is_out_of_memory
from mme_handler.models.booster import LoadedBooster, first_line
from mme_handler.models.outputs import Kind

_CONFIG = (
    b'{"type":0,"training":false,"iteration_begin":0,"iteration_end":%d,'
    b'"missing":NaN,"strict_shape":false,"cache_id":0}'
)
_EXPLAIN: dict[Kind, dict[str, bool]] = {
    "margin": {"output_margin": True},
    "leaf": {"pred_leaf": True},
    "contributions": {"pred_contribs": True},
    "interactions": {"pred_interactions": True},
}

# libxgboost keeps the last result of each model in each thread, and frees it only when that
# thread ends or is the one that frees the model. Larger answers get a thread of their own, and so
# does every prediction on a GPU: what it keeps, and caches, would be the GPU's memory.
_MAX_ROWS_HERE = 4_096


@cache
def _library() -> ctypes.CDLL:
    """Return the libxgboost that xgboost itself has loaded, with the types of what is used here."""
    library = ctypes.CDLL(find_lib_path()[0])
    handle, text, out = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
    library.XGProxyDMatrixCreate.argtypes = [out]
    library.XGDMatrixFree.argtypes = [handle]
    library.XGBGetLastError.argtypes = []
    library.XGBGetLastError.restype = text
    library.XGBoosterPredictFromDense.argtypes = [handle, text, text, handle, out, out, out]
    return library


def _error(library: ctypes.CDLL) -> xgb.core.XGBoostError:
    return xgb.core.XGBoostError(library.XGBGetLastError().decode(errors="replace"))


class _Workspace:
    """What one thread needs to call libxgboost: its proxy matrix, and where the results go."""

    def __init__(self) -> None:
        self.library = _library()
        self.predict = self.library.XGBoosterPredictFromDense
        self.proxy = ctypes.c_void_p()
        if self.library.XGProxyDMatrixCreate(ctypes.byref(self.proxy)):
            raise _error(self.library)
        self.shape = ctypes.POINTER(ctypes.c_uint64)()
        self.dimensions = ctypes.c_uint64()
        self.values = ctypes.c_void_p()
        self.results = (
            ctypes.byref(self.shape),
            ctypes.byref(self.dimensions),
            ctypes.byref(self.values),
        )

        self._rows: dict[int, tuple[NDArray[np.float32], bytes]] = {}

    def row(self, matrix: NDArray[np.float32]) -> bytes:
        """Copy a matrix of one row to where it stays; return its prepared array interface."""
        columns = matrix.shape[1]
        prepared = self._rows.get(columns)
        if prepared is None:
            place = np.empty((1, columns), np.float32)
            prepared = self._rows[columns] = (place, _array_interface(place))
        np.copyto(prepared[0], matrix)
        return prepared[1]

    def __del__(self) -> None:
        if getattr(self, "proxy", None):
            self.library.XGDMatrixFree(self.proxy)


def _array_interface(matrix: NDArray[np.float32]) -> bytes:
    return b'{"data":[%d,true],"shape":[%d,%d],"typestr":"<f4","version":3}' % (
        matrix.ctypes.data,
        *matrix.shape,
    )


_of_thread = threading.local()


def _workspace() -> _Workspace:
    try:
        workspace: _Workspace = _of_thread.workspace
    except AttributeError:
        workspace = _of_thread.workspace = _Workspace()
    return workspace


class Predictor:
    """Predicts with one model; any number of threads may call it at once.

    Args:
        loaded: the model.
        rounds: how many boosting rounds are used, from the first; 0 for all, as `Booster.predict`.
        batch_size: rows that XGBoost is given at a time; None for any number.
        device: where the booster is set to predict.
    """

    def __init__(
        self,
        loaded: LoadedBooster,
        rounds: int = 0,
        batch_size: int | None = None,
        device: Literal["cpu", "cuda"] = "cpu",
    ) -> None:
        info = loaded.info
        self.features, self._booster_name = info.features, info.booster
        self.objective, self.classes = info.objective, info.classes
        self.categories = info.categories
        self.columns = info.feature_names or tuple(f"f{n}" for n in range(info.features))
        self.groups = max(info.classes if info.objective == "multi:softprob" else 1, info.targets)
        self._trees: int | None = None
        self._rounds = rounds
        self._config = _CONFIG % rounds
        self._batch_size = batch_size
        self._booster = loaded.booster
        self._handle = loaded.booster.handle
        self._on_gpu = device == "cuda"
        # The C call refuses gblinear, and rounds dart otherwise than Booster.predict does.
        self._dense = info.booster == "gbtree" and not info.categorical and device == "cpu"
        self._feature_types = list(info.feature_types or ()) if info.categorical else None
        # XGBoost does not promise that gblinear may predict in several threads.
        self._turn: contextlib.AbstractContextManager[object] = (
            threading.Lock() if info.booster == "gblinear" else contextlib.nullcontext()
        )

    def predict(
        self, features: NDArray[np.float32], base_margin: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Return what `Booster.predict(xgb.DMatrix(features))` returns, to the last bit.

        `features` is (rows, columns), float32, NaN where a value is missing; `base_margin` has a
        row for each. The result is the caller's own: (rows,), or (rows, outputs) when the model
        has several outputs. An infinite feature is ordered like any other number where XGBoost's
        in-place prediction does so, and refused for boosters that need a DMatrix.

        Raises BadRequestError when the input does not fit the model, OutOfMemoryError when there
        is no room for the answer, and ModelError when XGBoost fails otherwise.
        """
        matrix = np.ascontiguousarray(features, np.float32)
        self._check_input(matrix, base_margin)
        rows = len(matrix)
        try:
            if rows == 1 and self._dense and base_margin is None:
                return self._predict_dense(matrix)
            if not rows:
                return np.empty(0, np.float32)  # XGBoost's answer, without its warning.
            if self._batch_size and rows > self._batch_size and base_margin is None:
                return self._in_batches(self.predict, matrix, self._batch_size)
            if rows <= _MAX_ROWS_HERE and not self._on_gpu:
                return self._answer(matrix, base_margin)
            with ThreadPoolExecutor(1) as own:
                return own.submit(self._answer, matrix, base_margin).result()
        except (xgb.core.XGBoostError, MemoryError) as error:
            raise _translate(error) from error

    def explain(self, features: NDArray[np.float32], kind: Kind) -> NDArray[np.float32]:
        """Return another kind of prediction than the plain one, as `Booster.predict` does.

        Of `rows` rows: margins (rows,) or (rows, outputs), leaf indices (rows, trees), SHAP
        contributions (rows, [outputs,] columns + 1), or SHAP interactions (rows, [outputs,]
        columns + 1, columns + 1), where the last column is the bias.

        Raises BadRequestError also when the model has no such prediction.
        """
        matrix = np.ascontiguousarray(features, np.float32)
        self._check_input(matrix, None)
        if self._batch_size and len(matrix) > self._batch_size:
            return self._in_batches(lambda part: self.explain(part, kind), matrix, self._batch_size)
        try:
            # A thread of its own: with it goes what libxgboost would keep of a large result.
            with ThreadPoolExecutor(1) as own:
                return own.submit(self._predict_dmatrix, matrix, None, **_EXPLAIN[kind]).result()
        except MemoryError as error:
            raise _translate(error) from error
        except xgb.core.XGBoostError as error:
            if is_out_of_memory(error):
                raise _translate(error) from error
            # What XGBoost says of it is a failed check of its own.
            raise BadRequestError(
                f"XGBoost has no {kind} for this model ({self.objective}, {self._booster_name})."
            ) from error

    def _in_batches(
        self,
        function: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        matrix: NDArray[np.float32],
        size: int,
    ) -> NDArray[np.float32]:
        starts = range(0, len(matrix), size)
        return np.concatenate([function(matrix[start : start + size]) for start in starts])

    @property
    def trees(self) -> int:
        """How many trees it has; 1 for a linear model."""
        if self._trees is None:
            row = np.full((1, self.features), np.nan, np.float32)
            linear = self._booster_name == "gblinear"
            self._trees = 1 if linear else self.explain(row, "leaf").size
        return self._trees

    def warm(self) -> None:
        """Predict one row of missing values: what the first prediction sets up is then done.

        Raises what `predict` does.
        """
        self.predict(np.full((1, self.features), np.nan, np.float32))

    def _check_input(
        self, matrix: NDArray[np.float32], base_margin: NDArray[np.float32] | None
    ) -> None:
        if matrix.ndim != 2:
            raise BadRequestError(
                f"The features must have 2 dimensions, rows and columns, and have {matrix.ndim}."
            )
        if matrix.shape[1] != self.features:
            raise BadRequestError(
                f"The rows have {matrix.shape[1]} features, and the model takes {self.features}."
            )
        if base_margin is not None and len(base_margin) != len(matrix):
            raise BadRequestError(
                f"There are {len(base_margin)} base margins for {len(matrix)} rows."
            )

    def _answer(
        self, matrix: NDArray[np.float32], base_margin: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        if self._dense and base_margin is None:
            return self._predict_dense(matrix)
        return self._predict_dmatrix(matrix, base_margin)

    def _predict_dense(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        workspace = _workspace()
        array = workspace.row(matrix) if len(matrix) == 1 else _array_interface(matrix)
        if workspace.predict(
            self._handle, array, self._config, workspace.proxy, *workspace.results
        ):
            raise _error(workspace.library)
        shape = workspace.shape[: workspace.dimensions.value]
        # The values belong to the booster, and its next prediction in this thread changes them.
        values = bytearray(ctypes.string_at(workspace.values, 4 * math.prod(shape)))
        result = np.frombuffer(values, np.float32)
        return result if len(shape) == 1 else result.reshape(shape)

    def _predict_dmatrix(
        self,
        matrix: NDArray[np.float32],
        base_margin: NDArray[np.float32] | None,
        **kind: bool,
    ) -> NDArray[np.float32]:
        with self._turn:
            data = xgb.DMatrix(
                matrix,
                base_margin=base_margin,
                feature_types=self._feature_types,
                enable_categorical=self._feature_types is not None,
                nthread=1,
            )
            # The columns were put in the model's order before.
            values: NDArray[np.float32] = self._booster.predict(
                data, validate_features=False, iteration_range=(0, self._rounds), **kind
            )
            return values


def _translate(error: BaseException) -> BadRequestError | ModelError | OutOfMemoryError:
    if is_out_of_memory(error):
        return OutOfMemoryError("There is not enough memory to predict: send fewer rows.")
    line = first_line(error)
    if "contains `inf`" in line:
        return BadRequestError("The features hold an infinite value, which this model refuses.")
    return ModelError(f"XGBoost cannot predict: {line}")
