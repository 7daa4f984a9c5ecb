"""The report, for a person and for a program."""

from __future__ import annotations

import io
import json

from rich.console import Console

from mme_local.conformance import clauses, report
from mme_local.conformance.registry import Check, Result, Status


def result(status: Status, seen: str = "[200] fine", advisory: bool = False) -> Result:
    check = Check(f"a.{status}", clauses.LOADED, "it is 409", lambda _: "", advisory)
    return Result(check, status, seen, 1.25)


def shown(show) -> str:
    file = io.StringIO()
    show(Console(file=file, width=80))
    return file.getvalue()


def test_a_check_that_passed_is_one_line():
    text = shown(lambda console: report.show_result(console, result(Status.PASS)))
    assert text.split() == ["pass", "a.pass", "1.2", "s", "[200]", "fine"]


def test_a_check_that_failed_says_what_the_contract_says():
    text = shown(lambda console: report.show_result(console, result(Status.FAIL, "200")))
    assert "expected: it is 409" in text
    assert 'clause: "If model_name is already loaded, this API should return 409"' in text
    assert "mms-container-apis.html#multi-model-api-load-model" in text


def test_a_report_of_a_user_is_called_one():
    assert str(clauses.MANIFEST).startswith("seen in practice: ")


def test_the_summary_counts():
    results = [result(Status.PASS), result(Status.PASS), result(Status.FAIL)]
    text = shown(lambda console: report.show_summary(console, "an-image", results))
    assert text == "an-image: 2 pass, 1 fail in 4 s\n"
    assert report.failed(results)
    assert not report.failed([result(Status.PASS), result(Status.WARN)])


def test_the_list_names_each_check():
    checks = [result(Status.PASS).check, result(Status.WARN, advisory=True).check]
    text = shown(lambda console: report.show_checks(console, checks))
    assert "a.pass: it is 409\n" in text
    assert "a.warn: it is 409 (else a warning)\n" in text
    assert text.count("https://docs.aws.amazon.com/") == 2


def test_json():
    document = json.loads(report.as_json("an-image", [result(Status.FAIL, "200")]))
    assert document["target"] == "an-image"
    assert document["summary"] == {"pass": 0, "fail": 1, "warn": 0, "skipped": 0}
    (entry,) = document["checks"]
    assert entry["id"] == "a.fail"
    assert (entry["status"], entry["expected"], entry["seen"]) == ("fail", "it is 409", "200")
    assert entry["seconds"] == 1.25
    assert entry["clause"]["url"].startswith("https://docs.aws.amazon.com/sagemaker/")
    assert entry["clause"]["seen_in_practice"] is False
