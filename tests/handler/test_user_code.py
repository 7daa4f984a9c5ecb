"""An archive's own code: how it is imported and called, and what is said when it fails."""

from __future__ import annotations

import functools
import subprocess
import sys
import types

import pytest

import mme_handler
from mme_handler import defaults
from mme_handler.errors import ModelLoadError, OutOfMemoryError
from mme_handler.user_code import (
    bind_hook,
    describe,
    find_hooks,
    import_script,
    takes_context,
    where,
)


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Write an inference.py and return its path; the module is forgotten afterwards."""
    monkeypatch.delitem(sys.modules, "inference", raising=False)
    code = tmp_path / "code"
    code.mkdir()
    monkeypatch.syspath_prepend(str(code))

    def write(text, name="inference.py"):
        file = code / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    yield write
    for name in ("inference", "helper_of_a_model"):
        sys.modules.pop(name, None)


# -- Import --------------------------------------------------------------------------------------


def test_import(script):
    module = import_script(script("WORD = __name__\n"))
    assert module.WORD == "inference"
    assert sys.modules["inference"] is module


def test_import_under_another_name(script):
    assert import_script(script("", "helper_of_a_model.py")).__name__ == "helper_of_a_model"
    assert import_script(script("", "json.py")).__name__ == "inference"


def test_a_syntax_error_says_where(script):
    script("def f(:\n", "helper_of_a_model.py")
    with pytest.raises(ModelLoadError) as caught:
        import_script(script("\nimport helper_of_a_model\n"))
    assert str(caught.value) == (
        "inference.py cannot be imported: SyntaxError: invalid syntax "
        "(helper_of_a_model.py, line 1)"
    )
    assert isinstance(caught.value.__cause__, SyntaxError)
    assert "inference" not in sys.modules


def test_a_missing_module_says_what_to_do(script):
    with pytest.raises(ModelLoadError) as caught:
        import_script(script("import not_installed_here\n"))
    assert str(caught.value) == (
        "inference.py cannot be imported: ModuleNotFoundError: No module named "
        "'not_installed_here': put it into code/lib/, or list it in code/requirements.txt"
    )


@pytest.mark.parametrize(
    ("statement", "error", "text"),
    [
        ("raise ValueError('no region')", ModelLoadError, "imported: ValueError: no region"),
        ("raise KeyError", ModelLoadError, "imported: KeyError"),
        ("raise MemoryError", OutOfMemoryError, "inference.py of the model ran out of memory"),
        ("raise SystemExit(3)", SystemExit, "3"),
    ],
)
def test_an_import_that_fails(script, statement, error, text):
    with pytest.raises(error, match=text):
        import_script(script(statement))


# -- The context ---------------------------------------------------------------------------------


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def carelessly_decorated(function):
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Instance:
    def __call__(self, data, model, context):
        return data, model, context


class Methods:
    def without(self, data, model):
        return data, model

    def with_context(self, data, model, context):
        return data, model, context


def plain(data, model):
    return data, model


def full(data, model, context):
    return data, model, context


WITHOUT = {
    "plain": plain,
    "decorated": decorated(plain),
    "carelessly decorated": carelessly_decorated(plain),
    "method": Methods().without,
    "partial": functools.partial(lambda extra, data, model: (data, model), 1),
    "an option of its own": lambda data, model, threshold=0.5: (data, model),
    "keyword options": lambda data, model, **rest: (data, model),
    "another keyword": lambda data, model, *, log=None: (data, model),
}
WITH = {
    "plain": full,
    "decorated": decorated(full),
    "method": Methods().with_context,
    "callable": Instance(),
    "partial": functools.partial(lambda extra, *given: given, 1),
    "any name": lambda data, model, ctx: (data, model, ctx),
    "optional": lambda data, model, ctx=None: (data, model, ctx),
    "args": lambda *args: args,
    "further args": lambda data, model, *rest: (data, model, *rest),
    "by keyword": lambda data, model, *, context: (data, model, context),
    "by optional keyword": lambda data, model, *, context=None: (data, model, context),
}


@pytest.mark.parametrize("function", WITHOUT.values(), ids=WITHOUT)
def test_hooks_without_context(function):
    assert not takes_context(function, 2)
    assert bind_hook("predict_fn", function)(1, 2, 3) == (1, 2)


@pytest.mark.parametrize("function", WITH.values(), ids=WITH)
def test_hooks_with_context(function):
    assert takes_context(function, 2)
    assert bind_hook("predict_fn", function)(1, 2, 3) == (1, 2, 3)


def test_a_hook_that_does_not_tell_its_parameters():
    assert not takes_context(max, 2)
    assert bind_hook("predict_fn", max)(1, 2, 3) == 2


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda data: 1, r"defined with \(data\), but is called with \(data, model\) or"),
        (lambda a, b, c, d: 1, r"defined with \(a, b, c, d\), but"),
        ("text", "predict_fn of the model must be a function"),
    ],
)
def test_a_hook_that_cannot_be_called(function, text):
    with pytest.raises(ModelLoadError, match=text):
        bind_hook("predict_fn", function)


def test_find_hooks():
    module = types.SimpleNamespace(input_fn=lambda b, t: (b, t), predict_fn=None, other=1)
    hooks = find_hooks(module)
    assert list(hooks) == ["input_fn"]
    assert hooks["input_fn"](1, 2, "context") == (1, 2)


# -- Where ---------------------------------------------------------------------------------------


def failure_of(module):
    try:
        module.input_fn()
    except Exception as error:
        return error


def test_where_it_failed(script, tmp_path):
    module = import_script(script("import json\n\ndef input_fn():\n    return json.loads('x')\n"))
    error = failure_of(module)
    place = "inference.py, line 4, in input_fn"
    assert where(error, tmp_path) == place
    wrapped = ModelLoadError("it failed")
    wrapped.__cause__ = error
    assert where(wrapped, tmp_path) == place
    assert where(ValueError("elsewhere"), tmp_path) is None
    assert where(error, tmp_path / "other") is None


def test_where_it_failed_in_what_it_calls(script, tmp_path):
    script("def work():\n    raise ValueError\n", "helper_of_a_model.py")
    module = import_script(
        script("import helper_of_a_model\n\ndef input_fn():\n    helper_of_a_model.work()\n")
    )
    assert where(failure_of(module), tmp_path) == "helper_of_a_model.py, line 2, in work"


def test_where_leaves_libraries_out(script, tmp_path, monkeypatch):
    library = script("def work():\n    raise ValueError\n", "lib/helper_of_a_model.py")
    monkeypatch.syspath_prepend(str(library.parent))
    module = import_script(
        script("import helper_of_a_model\n\ndef input_fn():\n    helper_of_a_model.work()\n")
    )
    assert where(failure_of(module), tmp_path) == "inference.py, line 4, in input_fn"
    with pytest.raises(ValueError) as caught:
        sys.modules["helper_of_a_model"].work()
    assert where(caught.value, tmp_path) == "lib/helper_of_a_model.py, line 2, in work"


def test_where_a_syntax_error_is(script, tmp_path):
    with pytest.raises(ModelLoadError) as caught:
        import_script(script("x = 1\ny = (\n"))
    assert where(caught.value, tmp_path) == "inference.py, line 2"


class MuteError(Exception):
    def __str__(self):
        raise self


def test_describe():
    assert describe(ValueError("no region")) == "ValueError: no region"
    assert describe(KeyError()) == "KeyError"
    assert describe(ValueError("file \udcff")) == "ValueError: file \\udcff"
    assert describe(MuteError()) == "MuteError: a MuteError that cannot be shown"


# -- The defaults --------------------------------------------------------------------------------


class Defaults:
    def default_model_fn(self, model_dir):
        return "model", model_dir

    def default_input_fn(self, body, content_type):
        return "input", body, content_type

    def default_predict_fn(self, data, model):
        return "predict", data, model

    def default_output_fn(self, prediction, accept):
        return "output", prediction, accept


def test_the_defaults_act_on_the_model_of_the_process(monkeypatch):
    monkeypatch.setattr(defaults, "_current", None)
    handler = Defaults()
    defaults.use(handler)
    assert mme_handler.model_fn("dir") == ("model", "dir")
    assert mme_handler.input_fn(b"1", "text/csv") == ("input", b"1", "text/csv")
    assert mme_handler.predict_fn([1], "model") == ("predict", [1], "model")
    assert mme_handler.output_fn([2], None) == ("output", [2], None)
    del handler
    with pytest.raises(RuntimeError, match="not outside a server"):
        mme_handler.predict_fn([1], "model")


def test_the_defaults_outside_a_server(monkeypatch):
    monkeypatch.setattr(defaults, "_current", None)
    with pytest.raises(RuntimeError, match="in the hooks of an inference"):
        mme_handler.input_fn(b"", "text/csv")


def test_importing_the_package_is_light():
    code = (
        "import sys, mme_handler; assert 'xgboost' not in sys.modules; "
        "assert 'mme_handler.defaults' not in sys.modules; "
        "from mme_handler import model_fn, input_fn, predict_fn, output_fn; "
        "assert not hasattr(mme_handler, 'other'); assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
