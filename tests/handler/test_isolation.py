"""Models that bring their own code: what it may do, and that nobody else sees it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from support.models import csv_of, make_rows
from support.serving import Server, until

ROWS = make_rows(3, seed=8)
BODY = csv_of(ROWS)


@pytest.fixture(scope="module")
def every_model_alone(tmp_path_factory):
    env = {"MME_ISOLATION": "process", "MME_HOSTS": "1"}
    with Server(tmp_path_factory.mktemp("alone"), env=env) as server:
        yield server


def own(make_model, script, *, at="code/inference.py", kind="ubj", **files):
    return make_model(kind, files={at: script, **files})


def assert_answers(server, model):
    answer = server.invoke(model.name, BODY, headers={"accept": "text/csv"})
    scores = np.array([np.float32(line) for line in answer.text.splitlines()], np.float32)
    assert np.array_equal(scores, model.predict(ROWS)), answer.text


# -- Nobody sees another's code ------------------------------------------------------------------


def test_modules_of_the_same_name_are_each_models_own(server, make_model):
    models = []
    for word in ("first", "second", "third"):
        files = {
            "code/utils.py": f"WORD = {word!r}\n",
            "code/inference.py": "import utils\n\ndef output_fn(prediction, accept):\n"
            f"    import utils as again\n    return f'{word} {{utils.WORD}} {{again.WORD}}'\n",
        }
        models.append((word, server.add(make_model(files=files))))
    for _ in range(3):
        for word, model in models:
            assert server.invoke(model.name, BODY).text == f"{word} {word} {word}"
    assert len(server.pids()["isolated"]) == 3


SHADOWS = ["json", "xgboost", "handler", "numpy", "mme_handler", "inference", "sagemaker_inference"]


def test_modules_that_shadow_known_ones_harm_nobody(server, make_model):
    restarts = server.metric("mme_restarts_total")
    plain = server.add(make_model(seed=1))
    neighbour = server.add(
        own(make_model, "import json\n\ndef output_fn(p, a): return json.dumps(len(p))\n")
    )
    files = {f"code/{name}.py": "raise RuntimeError('shadow')\n" for name in SHADOWS}
    script = "def output_fn(prediction, accept): return 'shadowed'\n"
    shadowing = make_model(files={**files, "code/inference.py": script})
    assert server.load(shadowing.name, shadowing.path)[0] == 200
    assert server.invoke(shadowing.name, BODY).text == "shadowed"
    assert_answers(server, plain)
    assert server.invoke(neighbour.name, BODY).text == "3"
    later = server.add(
        own(make_model, "import json\n\ndef output_fn(p, a): return json.dumps(len(p))\n")
    )
    assert server.invoke(later.name, BODY).text == "3"
    assert server.metric("mme_restarts_total") == restarts


def test_modules_that_shadow_known_ones_beside_a_plain_model_are_not_imported(server, make_model):
    files = {f"{name}.py": "raise RuntimeError('shadow')\n" for name in SHADOWS[:5]}
    model = server.add(make_model(files=files))
    assert server.wait_log(event="loaded", model=model.name)["home"] == "shared"
    assert_answers(server, model)


def test_changes_to_the_process_do_not_leak(server, make_model):
    before = server.add(own(make_model, PEEK))
    script = """
import builtins, json, os, sys, xgboost

os.environ["LEAK"] = "yes"
os.environ["OMP_NUM_THREADS"] = "7"
os.umask(0)
os.chdir("/")
sys.path.insert(0, "/leak")
xgboost.set_config(verbosity=3)
builtins.leak = json.leak = xgboost.leak = True
xgboost.Booster.predict = json.dumps = None

def output_fn(prediction, accept):
    return os.environ["LEAK"] + os.getcwd()
"""
    leaking = server.add(own(make_model, script))
    assert server.invoke(leaking.name, BODY).text == "yes/"
    after = server.add(own(make_model, PEEK))
    plain = server.add(make_model())
    for model in (before, after):
        seen = server.invoke(model.name, BODY).json()
        assert seen["leak"] is None
        assert seen["threads"] is None
        assert seen["leaks"] == [False, False, False]
        assert "/leak" not in seen["path"]
        assert seen["verbosity"] == 1
        assert seen["cwd"] == str(model.path)
    assert_answers(server, plain)


PEEK = """
import builtins, json, os, sys, xgboost

def output_fn(prediction, accept):
    return json.dumps({
        "leak": os.environ.get("LEAK"),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "leaks": [hasattr(place, "leak") for place in (builtins, json, xgboost)],
        "path": sys.path,
        "verbosity": xgboost.get_config()["verbosity"],
        "cwd": os.getcwd(),
        "pid": os.getpid(),
        "argv": sys.argv,
        "name": __name__,
        "file": __file__,
    })
"""


def test_a_model_has_a_process_and_a_place_of_its_own(server, make_model):
    models = [server.add(own(make_model, PEEK)) for _ in range(2)]
    seen = [server.invoke(model.name, BODY).json() for model in models]
    isolated = server.pids()["isolated"]
    assert sorted(each["pid"] for each in seen) == sorted(isolated)
    for model, each in zip(models, seen, strict=True):
        assert each["cwd"] == str(model.path)
        assert each["path"][0] == str(model.path / "code")
        assert each["name"] == "inference"
        assert each["file"] == str(model.path / "code" / "inference.py")
        line = server.wait_log(event="loaded", model=model.name)
        assert (line["home"], line["pid"]) == ("isolated", each["pid"])
        server.unload(model.name)
    until(lambda: not server.pids()["isolated"])


def test_the_archive_is_not_written_to(server, make_model):
    script = "import utils\n\ndef output_fn(p, a): return utils.WORD\n"
    model = server.add(own(make_model, script, **{"code/utils.py": "WORD = 'word'\n"}))
    assert server.invoke(model.name, BODY).text == "word"
    assert not list(model.path.rglob("__pycache__"))


def test_no_descriptor_of_the_server_or_of_others_is_open(server, make_model):
    plain = server.add(make_model())
    script = """
import json, os

def output_fn(prediction, accept):
    open_ = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            open_[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass
    return json.dumps(open_)
"""
    first, second = (server.add(own(make_model, script)) for _ in range(2))
    for model in (first, second):
        links = server.invoke(model.name, BODY).json()
        sockets = [link for link in links.values() if link.startswith("socket:")]
        assert len(sockets) == 2, links  # MMS's connection and the server's channel
        assert not any("launches" in link or "alive" in link for link in links.values()), links
    assert_answers(server, plain)


def test_a_models_code_gives_way_to_the_hosts(server, make_model):
    server.add(own(make_model, PEEK))
    server.add(make_model())
    pids = server.pids()
    assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in pids["isolated"]} == {5}
    assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in pids["hosts"]} == {0}


def test_children_of_a_models_code_end_with_it(server, make_model, tmp_path):
    script = f"""
import subprocess, threading, time
from pathlib import Path

child = subprocess.Popen(["sleep", "300"])
Path({str(tmp_path / "pid")!r}).write_text(str(child.pid))
threading.Thread(target=lambda: time.sleep(300)).start()
"""
    model = server.add(own(make_model, script))
    pid = int((tmp_path / "pid").read_text())
    assert _lives(pid)
    assert_answers(server, model)
    assert server.unload(model.name).status_code == 200
    until(lambda: not _lives(pid), 5, "the child of the model's code has ended")
    until(lambda: not server.pids()["isolated"], 5)


# -- The hooks -----------------------------------------------------------------------------------


def test_hooks_with_and_without_context(server, make_model):
    without = """
import numpy as np
import xgboost as xgb

def model_fn(model_dir):
    booster = xgb.Booster()
    booster.load_model(f"{model_dir}/model.ubj")
    return booster

def input_fn(body, content_type):
    return np.array([line.split(",") for line in body.split()], dtype=np.float32)

def predict_fn(data, model):
    return model.inplace_predict(data) * 2

def output_fn(prediction, accept):
    return ";".join(str(value) for value in prediction), "text/plain"
"""
    with_context = without
    for signature in ("model_dir", "body, content_type", "data, model", "prediction, accept"):
        with_context = with_context.replace(f"({signature}):", f"({signature}, context):")
    rows = np.arange(12, dtype=np.float32).reshape(2, 6)
    for script in (without, with_context):
        model = server.add(own(make_model, script))
        answer = server.invoke(model.name, csv_of(rows), "text/csv")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/plain"
        scores = [np.float32(text) for text in answer.text.split(";")]
        assert np.array_equal(scores, model.predict(rows) * 2)


def test_the_context_knows_the_model_and_the_request(server, make_model):
    script = """
import json

def pre_model_fn(model_dir, context):
    global seen
    seen = [model_dir, context.model_name, context.system_properties["model_dir"]]

def output_fn(prediction, accept, context):
    return json.dumps([*seen, context.headers.get("x-custom"), accept]), "application/json"
"""
    model = server.add(own(make_model, script))
    headers = {"X-Custom": "value 1", "accept": "application/json"}
    answer = server.invoke(model.name, BODY, headers=headers)
    directory = str(model.path)
    assert answer.json() == [directory, model.name, directory, "value 1", "application/json"]
    again = server.invoke(model.name, BODY)
    assert again.json()[3] is None


def test_transform_fn(server, make_model):
    script = """
def transform_fn(model, body, content_type, accept):
    return f"{type(model).__name__} {len(body)} {content_type} {accept}", "text/x-own"
"""
    model = server.add(own(make_model, script))
    answer = server.invoke(model.name, b"12345", "text/x-mine", {"accept": "text/x-else"})
    assert answer.text == "Booster 5 text/x-mine text/x-else"
    assert answer.headers["content-type"] == "text/x-own"


def test_transform_fn_goes_with_no_other(server, make_model):
    script = "def transform_fn(m, b, t, a): return b\n\ndef input_fn(b, t): return b\n"
    model = own(make_model, script)
    assert server.load(model.name, model.path)[0] == 500
    assert "transform_fn" in server.wait_log(event="load failed", model=model.name)["reason"]


@pytest.mark.parametrize(
    ("returned", "text", "content_type"),
    [
        ("'text äöü'", "text äöü", "text/x-asked"),
        ("b'bytes'", "bytes", "text/x-asked"),
        ("bytearray(b'array')", "array", "text/x-asked"),
        ("('text', 'text/x-own')", "text", "text/x-own"),
        ("(b'bytes', 'application/x-own')", "bytes", "application/x-own"),
        ("''", "", "text/x-asked"),
    ],
)
def test_what_output_fn_may_return(server, make_model, returned, text, content_type):
    model = server.add(own(make_model, f"def output_fn(p, a): return {returned}\n"))
    answer = server.invoke(model.name, BODY, headers={"accept": "text/x-asked"})
    assert answer.status_code == 200
    assert answer.content.decode() == text
    assert answer.headers["content-type"].partition(";")[0] == content_type


def test_input_fn_alone(server, make_model):
    script = """
import numpy as np

def input_fn(body, content_type):
    assert content_type == "text/x-pipes"
    return np.array([line.split(b"|") for line in body.split()], dtype=np.float32)
"""
    model = server.add(own(make_model, script))
    rows = np.arange(12, dtype=np.float32).reshape(2, 6)
    body = csv_of(rows).replace(b",", b"|")
    answer = server.invoke(model.name, body, "text/x-pipes", {"accept": "text/csv"})
    scores = np.array([np.float32(line) for line in answer.text.splitlines()], np.float32)
    assert np.array_equal(scores, model.predict(rows))


def test_an_inference_script_at_the_root(server, make_model):
    script = "import utils\n\ndef output_fn(p, a): return utils.WORD\n"
    files = {"utils.py": "WORD = 'root'\n"}
    model = server.add(own(make_model, script, at="inference.py", **files))
    assert server.invoke(model.name, BODY).text == "root"


def test_the_script_in_the_code_directory_comes_first(server, make_model):
    files = {"inference.py": "def output_fn(p, a): return 'root'\n"}
    model = server.add(own(make_model, "def output_fn(p, a): return 'code'\n", **files))
    assert server.invoke(model.name, BODY).text == "code"


def test_packages_below_lib_can_be_imported(server, make_model):
    script = "from vendored import word\n\ndef output_fn(p, a): return word.WORD\n"
    files = {"code/lib/vendored/__init__.py": "", "code/lib/vendored/word.py": "WORD = 'lib'\n"}
    model = server.add(own(make_model, script, **files))
    assert server.invoke(model.name, BODY).text == "lib"


def test_an_empty_script_changes_nothing(server, make_model):
    model = server.add(own(make_model, ""))
    assert_answers(server, model)


def test_a_model_that_is_no_booster(server, make_model):
    script = """
import json

class Mean:
    n_features_in_ = 2

    def predict(self, rows):
        return rows.mean(axis=1)

def model_fn(model_dir):
    return Mean()
"""
    model = server.add(own(make_model, script, kind="none"))
    answer = server.invoke(model.name, b"1,2\n3,5\n", headers={"accept": "text/csv"})
    assert answer.text == "1.5\n4.0\n"
    wrong = server.invoke(model.name, b"1,2,3\n")
    assert wrong.status_code == 400
    assert "the model takes 2" in wrong.json()["message"]


def test_what_the_code_prints_does_not_break_the_log(server, make_model):
    script = """
import sys

print("loading")

def output_fn(prediction, accept):
    print("printed to stdout")
    print("printed to stderr", file=sys.stderr)
    return "fine"
"""
    model = server.add(own(make_model, script))
    assert server.invoke(model.name, BODY).text == "fine"
    until(lambda: "printed to stderr" in server.log_text())
    server.unload(model.name)
    server.wait_log(event="unloaded", model=model.name)


# -- MME_ISOLATION=process ---------------------------------------------------------------------


def test_every_model_in_a_process_of_its_own(every_model_alone, make_model):
    server = every_model_alone
    models = [server.add(make_model(kind)) for kind in ("ubj", "json", "ubj")]
    pids = set()
    for model in models:
        assert_answers(server, model)
        line = server.wait_log(event="loaded", model=model.name)
        assert line["home"] == "isolated"
        pids.add(line["pid"])
    assert len(pids) == 3
    assert pids == set(server.pids()["isolated"])
    assert server.metric("mme_isolated_workers") == 3
    for model in models:
        assert server.unload(model.name).status_code == 200
    until(lambda: not server.pids()["isolated"])


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
