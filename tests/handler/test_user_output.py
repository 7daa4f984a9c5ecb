"""What a model's code prints and logs is in the log, in the model's name."""

# ruff: noqa: T201 - printing is what is tested

from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
from contextlib import suppress

import pytest
import structlog

from mme_handler.user_output import to_log
from support.models import csv_of, make_rows

BODY = csv_of(make_rows(1))


@pytest.fixture
def lines(monkeypatch):
    """The log lines so far, of a log that goes where standard error went."""
    written = io.StringIO()
    before = structlog.get_config()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=written),
        cache_logger_on_first_use=False,
    )
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    structlog.configure(**before)


def texts(lines):
    return [line["text"] for line in lines]


def test_prints(lines):
    with to_log("m1"):
        print("one", 2)
        print("to stderr", file=sys.stderr)
        print("no end ", end="", flush=True)
        print()
        print("\n \n")
        print("two\nlines")
        assert sys.stdout.write("äöü") == 3
    out, err = lines()[:2]
    assert out == {
        "component": "user_output",
        "event": "printed",
        "level": "info",
        "model": "m1",
        "stream": "stdout",
        "text": "one 2",
    }
    assert (err["stream"], err["text"]) == ("stderr", "to stderr")
    assert texts(lines()[2:]) == ["no end ", "two", "lines", "äöü"]


def test_afterwards_all_is_as_before(lines):
    before = sys.stdout, sys.stderr, list(logging.getLogger().handlers), logging.getLogger().level
    with suppress(KeyboardInterrupt), to_log("m1"):
        print("last", end="")
        raise KeyboardInterrupt
    now = sys.stdout, sys.stderr, list(logging.getLogger().handlers), logging.getLogger().level
    assert now == before
    assert texts(lines()) == ["last"]


def test_a_very_long_line_is_cut(lines):
    with to_log("m1"):
        for _ in range(100):
            print("x" * 1000, end="")
        print()
        print("short")
        logging.getLogger("own").warning("y" * 10_000)
    long, short, logged = texts(lines())
    assert long == "x" * 8192 + "… (91,808 more characters)"
    assert short == "short"
    assert logged == "y" * 8192 + "… (1,808 more characters)"


def test_of_a_progress_bar_the_last_state_counts(lines):
    with to_log("m1"):
        for percent in range(0, 101, 10):
            sys.stderr.write(f"\r{percent} %")
            sys.stderr.flush()
        sys.stderr.write("\n")
        print("windows\r")
    assert texts(lines()) == ["100 %", "windows"]


def test_logging(lines):
    with to_log("m1"):
        own = logging.getLogger("own.module")
        own.debug("not seen")
        own.info("number %d", 1)
        logging.warning("at the root")
        own.log(35, "between")
        own.critical("the end")
        try:
            raise ValueError("no region")
        except ValueError:
            own.exception("failed")
    seen = [(line["level"], line["logger"], line["text"]) for line in lines() if "logger" in line]
    assert seen == [
        ("info", "own.module", "number 1"),
        ("warning", "root", "at the root"),
        ("warning", "own.module", "between"),
        ("critical", "own.module", "the end"),
        ("error", "own.module", "failed"),
    ]
    failed = next(line for line in lines() if line.get("text") == "failed")
    assert failed["event"] == "logged"
    assert failed["model"] == "m1"
    assert "ValueError: no region" in failed["exception"]


def test_a_wrong_log_call_is_reported_and_not_raised(lines):
    record = logging.LogRecord("own", logging.INFO, "file", 1, "number %d", ("text",), None)
    with to_log("m1"):
        logging.getLogger().handlers[-1].handle(record)
    assert "--- Logging error ---" in texts(lines())


def test_a_logger_that_prints_does_not_loop(lines, capsys):
    def prints(logger, name, event):
        print("from the logger")
        return event

    structlog.configure(processors=[prints, *structlog.get_config()["processors"]])
    with to_log("m1"):
        print("once")
    assert texts(lines()) == ["once"]
    assert capsys.readouterr().out == "from the logger\n"


def test_threads_do_not_mix_their_lines(lines):
    def work(letter):
        for _ in range(200):
            sys.stdout.write(letter * 50 + "\n")

    with to_log("m1"):
        threads = [threading.Thread(target=work, args=(letter,)) for letter in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(texts(lines())) == sorted(letter * 50 for letter in "abc" for _ in range(200))


def test_it_is_a_text_stream(lines, capfd):
    with to_log("m1"):
        assert (sys.stdout.encoding, sys.stdout.name, sys.stdout.isatty()) == (
            "utf-8",
            "<stdout>",
            False,
        )
        assert sys.stdout.writable()
        sys.stdout.reconfigure(line_buffering=True)
        sys.stdout.writelines(["a\n", "b\n"])
        with pytest.raises(TypeError, match="must be str, not bytes"):
            sys.stdout.write(b"bytes")
        sys.stdout.close()
        print("still open")
        sys.stdout.buffer.write(b"past the log\n")
        sys.stdout.buffer.flush()
        os.write(sys.stdout.fileno(), b"and so is this\n")
    assert texts(lines()) == ["a", "b", "still open"]
    assert "past the log\n" in capfd.readouterr().out


# -- Over a server -------------------------------------------------------------------------------

SCRIPT = """
import logging
import os
import sys

print("while it loads")
logging.getLogger("own").info("a logger, while it loads")

def output_fn(prediction, accept):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    logging.error("an error")
    os.write(2, b"past Python\\n")
    print("without an end", end="")
    return "fine"
"""


def test_over_a_server(server, make_model):
    models = [server.add(make_model(files={"code/inference.py": SCRIPT})) for _ in range(2)]
    for model in models:
        loading = {"model": model.name, "text": "while it loads"}
        assert server.wait_log(**loading, event="printed", stream="stdout")["level"] == "info"
        line = server.wait_log(model=model.name, event="logged", logger="own")
        assert (line["level"], line["text"]) == ("info", "a logger, while it loads")
        assert server.invoke(model.name, BODY).text == "fine"
        for stream in ("stdout", "stderr"):
            server.wait_log(model=model.name, stream=stream, text=f"to {stream}")
        server.wait_log(model=model.name, logger="root", text="an error", level="error")
        assert "past Python\n" in server.log_text()
        server.unload(model.name)
        server.wait_log(model=model.name, text="without an end")
    assert "to stdout" not in server.stdout_path.read_text()


def test_what_a_model_says_before_it_fails_to_load(server, make_model):
    model = make_model(files={"code/inference.py": "print('a hint', end='')\nraise ValueError\n"})
    assert server.load(model.name, model.path)[0] == 500
    server.wait_log(model=model.name, event="printed", text="a hint")
