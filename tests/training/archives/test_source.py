from __future__ import annotations

import re

import pytest

from mme_training.archives.source import Script, read_script

RAISES = "raise AssertionError('it was run')\n"


def read(tmp_path, text: str) -> Script:
    (tmp_path / "inference.py").write_text(text)
    return read_script(tmp_path / "inference.py", "code/inference.py")


@pytest.mark.parametrize(
    ("text", "hooks"),
    [
        ("def model_fn(model_dir): ...\ndef helper(): ...", ("model_fn",)),
        ("async def input_fn(body, content_type): ...", ("input_fn",)),
        ("output_fn = predict_fn = print", ("predict_fn", "output_fn")),
        ("input_fn: object = print", ("input_fn",)),
        ("input_fn: object", ()),
        ("from mme_handler import model_fn\nimport x as input_fn", ("model_fn", "input_fn")),
        ("try:\n def input_fn(b, c): ...\nexcept E:\n def output_fn(p, a): ...",
         ("input_fn", "output_fn")),
        ("if True:\n pass\nelse:\n def predict_fn(d, m): ...", ("predict_fn",)),
        ("class A:\n def model_fn(self): ...", ()),
        ("x = '\\d'\ndef transform_fn(m, b, c, a): ...", ("transform_fn",)),
    ],
)  # fmt: skip
def test_hooks_are_found_and_nothing_is_run(tmp_path, text: str, hooks) -> None:
    script = read(tmp_path, RAISES + text)
    assert script.hooks == hooks
    assert script.problem is None
    assert script.loads_itself == ("model_fn" in hooks)


@pytest.mark.parametrize(
    ("text", "service"),
    [
        ("def handle(data, context): ...", "handle"),
        ("def handle(d, c): ...\ndef input_fn(b, c): ...", None),
        ("class Mine:\n def handle(self, data, context): ...", "Mine"),
        ("class Mine(toolkit.DefaultHandlerService): ...\ndef model_fn(d): ...", "Mine"),
        ("class Mine: ...", None),
    ],
)
def test_services_of_mms(tmp_path, text: str, service: str | None) -> None:
    assert read(tmp_path, RAISES + text).service == service


def test_a_star_may_bring_anything(tmp_path) -> None:
    assert read(tmp_path, "from other import *").loads_itself


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def model_fn(:", r"invalid syntax.* \(line 1\)"),
        ("return 1", r"'return' outside function \(line 1\)"),
        ("x = '\0'", "null bytes"),
        ("(" * 300 + ")" * 300, "nested parentheses|memory|recursion"),
        (
            "def transform_fn(m, b, c, a): ...\ndef output_fn(p, a): ...",
            "transform_fn, which does the work .* together with output_fn",
        ),
    ],
)
def test_what_a_server_refuses(tmp_path, text: str, problem: str) -> None:
    script = read(tmp_path, text)
    assert script.problem is not None
    assert re.search(problem, script.problem)
