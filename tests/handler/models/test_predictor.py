"""The predictor answers what XGBoost answers, to the last bit, and leaves nothing behind."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import threading
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mme_handler.errors import BadRequestError, ModelError, OutOfMemoryError
from mme_handler.models import predictor as module
from mme_handler.models import release
from mme_handler.models.booster import load_booster
from mme_handler.models.predictor import Predictor

# These need a DMatrix: the C call refuses them, or rounds otherwise.
SLOW = {"dart", "gblinear", "gblinear_softprob", "categorical"}


def assert_same(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.dtype == expected.dtype == np.float32
    assert got.shape == expected.shape
    assert got.tobytes() == expected.tobytes()


@pytest.fixture
def predictor(ubj: Path) -> Predictor:
    return Predictor(load_booster(ubj))


@pytest.mark.parametrize("count", [1, 2, 7, 100, 5000])
def test_equal_to_the_last_bit(case: Any, count: int) -> None:
    rows = case.rows[:count]
    assert_same(Predictor(case.loaded).predict(rows), case.expected(rows))


def test_nothing_but_missing_values(case: Any) -> None:
    rows = np.full((3, case.loaded.info.features), np.nan, np.float32)
    assert_same(Predictor(case.loaded).predict(rows), case.expected(rows))


def test_no_rows(case: Any) -> None:
    rows = case.rows[:0]
    with warnings.catch_warnings(action="ignore"):  # XGBoost warns of it, once in a process.
        expected = case.expected(rows)
    assert_same(Predictor(case.loaded).predict(rows), expected)


def test_base_margin(case: Any) -> None:
    predictor, rows = Predictor(case.loaded), case.rows[:9]
    outputs = case.booster.predict(  # Margins: softmax answers one class for its three outputs.
        xgb.DMatrix(rows, feature_types=case.booster.feature_types, enable_categorical=True),
        output_margin=True,
        validate_features=False,
    ).shape[1:]
    margin = np.random.default_rng(1).normal(size=(9, *outputs)).astype(np.float32)
    plain = predictor.predict(rows)
    assert_same(predictor.predict(rows, margin), case.expected(rows, base_margin=margin))
    assert_same(predictor.predict(rows), plain)


def test_infinite_features(case: Any) -> None:
    rows = case.rows[:4].copy()
    rows[0, 1], rows[1, 2] = np.inf, -np.inf
    predictor = Predictor(case.loaded)
    if case.name in SLOW:
        with pytest.raises(BadRequestError, match="infinite"):
            predictor.predict(rows)
    else:
        expected = case.booster.inplace_predict(rows, validate_features=False)
        assert_same(predictor.predict(rows), expected)


def test_from_four_threads_at_once(case: Any) -> None:
    predictor = Predictor(case.loaded)
    parts = [case.rows[start : start + size] for start in range(0, 200, 50) for size in (1, 3, 40)]
    expected = [case.expected(part) for part in parts]
    barrier = threading.Barrier(4)

    def run(_: int) -> None:
        barrier.wait(10)
        for _ in range(10):
            for part, answer in zip(parts, expected, strict=True):
                assert_same(predictor.predict(part), answer)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))


def test_models_take_turns_in_one_thread(simple: xgb.Booster, case: Any, ubj: Path) -> None:
    first, second = Predictor(load_booster(ubj)), Predictor(case.loaded)
    for count in (5, 1, 60, 2):
        rows = case.rows[:count]
        assert_same(first.predict(rows), simple.predict(xgb.DMatrix(rows)))
        assert_same(second.predict(rows), case.expected(rows))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=npst.arrays(
        np.float32,
        st.tuples(st.integers(1, 40), st.just(5)),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=False),
    )
)
def test_any_matrix(simple: xgb.Booster, predictor: Predictor, rows: np.ndarray) -> None:
    assert_same(predictor.predict(rows), simple.predict(xgb.DMatrix(rows)))


def test_result_belongs_to_the_caller(predictor: Predictor, case: Any) -> None:
    first = predictor.predict(case.rows[:3])
    copy = first.copy()
    predictor.predict(case.rows[3:6])
    assert_same(first, copy)
    first += 1


def test_input_of_another_layout_or_type(predictor: Predictor, case: Any) -> None:
    rows = case.rows[:50]
    expected = predictor.predict(rows)
    assert_same(predictor.predict(np.asfortranarray(rows)), expected)
    assert_same(predictor.predict(np.repeat(rows, 2, axis=0)[::2]), expected)
    assert_same(predictor.predict(rows.astype(">f4")), expected)
    assert_same(predictor.predict(rows.astype(np.float64)), expected)  # type: ignore[arg-type]


def test_the_input_is_not_changed(case: Any) -> None:
    rows = case.rows[:20].copy()
    rows.flags.writeable = False
    before = rows.tobytes()
    Predictor(case.loaded).predict(rows)
    assert rows.tobytes() == before


@pytest.mark.parametrize("columns", [0, 4, 6])
def test_wrong_number_of_features(case: Any, columns: int) -> None:
    with pytest.raises(BadRequestError, match=f"have {columns} features, and the model takes 5"):
        Predictor(case.loaded).predict(np.zeros((2, columns), np.float32))


def test_wrong_number_of_dimensions(predictor: Predictor) -> None:
    with pytest.raises(BadRequestError, match="2 dimensions"):
        predictor.predict(np.zeros(5, np.float32))


def test_wrong_number_of_base_margins(predictor: Predictor) -> None:
    with pytest.raises(BadRequestError, match="3 base margins for 2 rows"):
        predictor.predict(np.zeros((2, 5), np.float32), np.zeros(3, np.float32))


def test_warm(case: Any) -> None:
    assert Predictor(case.loaded).warm() is None


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("std::bad_alloc", OutOfMemoryError, "fewer rows"),
        (
            "[09:00:00] /a/b.cc:12: Check failed: no.\nStack trace:\n  [bt]",
            ModelError,
            "failed: no",
        ),
    ],
)
def test_errors_of_the_library(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, text: str, kind: type, says: str
) -> None:
    predictor.warm()
    monkeypatch.setattr(module._workspace(), "predict", lambda *_: -1)
    monkeypatch.setattr(module, "_error", lambda _: xgb.core.XGBoostError(text))
    with pytest.raises(kind, match=says) as caught:
        predictor.warm()
    assert type(caught.value) is kind
    assert "[bt]" not in str(caught.value)
    assert "/a/b.cc" not in str(caught.value)


def test_the_library_itself_reports_an_error(predictor: Predictor) -> None:
    predictor._handle = None
    with pytest.raises(ModelError, match=r"XGBoost cannot predict: .*Booster"):
        predictor.warm()


def test_a_thread_takes_its_proxy_with_it(predictor: Predictor) -> None:
    seen: list[weakref.ref[Any]] = []

    def run() -> None:
        predictor.warm()
        seen.append(weakref.ref(module._workspace()))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    gc.collect()
    assert [reference() for reference in seen] == [None]


def test_memory_returns_when_models_are_unloaded(ubj: Path) -> None:
    # A process of its own: what other tests have freed would be counted too.
    code = """
        import gc, sys
        from concurrent.futures import ThreadPoolExecutor
        from pathlib import Path
        import numpy as np
        import psutil
        from mme_handler.models.booster import load_booster
        from mme_handler.models.predictor import Predictor
        from mme_handler.models.release import trim_memory

        def resident():
            gc.collect()
            trim_memory()
            return psutil.Process().memory_info().rss

        pool = ThreadPoolExecutor(1)  # It does not end when the models are unloaded.
        rows = np.zeros((20_000, 5), np.float32)

        def fill(count):
            models = [Predictor(load_booster(Path(sys.argv[1]))) for _ in range(count)]
            for model in models:
                model.warm()
                pool.submit(model.predict, rows).result()
            return models

        fill(5)
        before = resident()
        models = fill(200)
        during = resident()
        del models
        print(before, during, resident())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(ubj)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    before, during, after = map(int, done.stdout.split())
    assert during > before
    assert after < before * 1.1
    # The largest answers, 16 MB in all, would be a tenth of it or less.
    assert after - before < 5_000_000


def test_trim_memory_without_malloc_trim(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(_: object) -> object:
        return object()

    monkeypatch.setattr(release.ctypes, "CDLL", no_library)
    monkeypatch.setattr(release, "_malloc_trim", release._find_malloc_trim())
    assert release._malloc_trim is None
    release.trim_memory()
