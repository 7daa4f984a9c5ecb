"""The example archives, built and served: what their READMEs say, numbers, and refusals."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import shlex
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb

from mme_training.houses import FEATURES, make_houses
from support.serving import Server

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/build.py"))
JSON, CSV = "application/json", "text/csv"
HOUSE = json.loads((EXAMPLES / "feature_engineering/houses.json").read_text())[0]


@dataclass(frozen=True)
class Command:
    """A curl line of a README, and the answer that the line below it shows."""

    path: str
    headers: dict[str, str]
    body: str
    answer: str


def commands(example: str) -> list[Command]:
    text = (EXAMPLES / example / "README.md").read_text()
    block = re.search(r"(?s)```sh\n(.*?)```", text)[1]
    lines = [*block.splitlines(), ""]
    return [
        parse(line, below.removeprefix("# ") if below.startswith("# ") else "")
        for line, below in itertools.pairwise(lines)
        if not line.startswith("# ")
    ]


def parse(line: str, answer: str) -> Command:
    program, url, *options = shlex.split(line)
    assert program == "curl"
    pairs = list(zip(options[::2], options[1::2], strict=True))
    assert {option for option, _ in pairs} <= {"-H", "-d"}
    headers = dict(value.split(": ") for option, value in pairs if option == "-H")
    [body] = [value for option, value in pairs if option == "-d"]
    if body.startswith("@"):
        body = (ROOT / body[1:]).read_text()
    return Command(url.removeprefix("localhost:8080"), headers, body, answer)


@dataclass(frozen=True)
class Served:
    """The server with all examples loaded, and the directory of their archives."""

    server: Server
    directory: Path

    def send(self, command: Command):
        body = command.body.replace("/tmp/models", str(self.directory))
        return self.server.client.post(command.path, content=body, headers=command.headers)

    def booster(self, name: str) -> xgb.Booster:
        return xgb.Booster(model_file=self.directory / name / "model.ubj")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    directory = tmp_path_factory.mktemp("archives")
    builds = [
        subprocess.Popen([sys.executable, EXAMPLES / name / "build.py", directory])
        for name in NAMES
    ]
    assert [build.wait(60) for build in builds] == [0] * len(NAMES)
    for archive in directory.glob("*.tar.gz"):
        with tarfile.open(archive) as tar:
            tar.extractall(directory / archive.name.removesuffix(".tar.gz"), filter="data")
    with Server(tmp_path_factory.mktemp("server"), "--models", str(directory)) as server:
        everything = Served(server, directory)
        for command in [c for name in NAMES for c in commands(name) if c.path == "/models"]:
            response = everything.send(command)
            assert response.status_code == 200, response.text
        yield everything


def csv_of(table) -> str:
    return table.to_csv(header=False, index=False)


def houses(count: int = 50):
    return make_houses("Elsewhere", count)[list(FEATURES)]


def scores(response) -> np.ndarray:
    assert response.status_code == 200, response.text
    return np.float32([row["score"] for row in response.json()["predictions"]])


def refusal(response) -> tuple[int, str]:
    return response.status_code, response.json()["message"]


def nearly(shown):
    """The answer in a README, with the few percent that another XGBoost may differ by."""
    if isinstance(shown, dict):
        return {key: nearly(value) for key, value in shown.items()}
    if isinstance(shown, list):
        return [nearly(value) for value in shown]
    return pytest.approx(shown, rel=0.02, abs=0.01) if isinstance(shown, int | float) else shown


# -- READMEs -------------------------------------------------------------------------------------


def test_every_example_is_in_the_table_and_loads_all_its_archives(served):
    text = (EXAMPLES / "README.md").read_text()
    folders = {path.parent.name for path in EXAMPLES.glob("*/README.md")}
    assert set(re.findall(r"(?m)^\| \[(\w+)\]\(\1/README\.md\)", text)) == folders
    loads = [json.loads(c.body) for n in NAMES for c in commands(n) if c.path == "/models"]
    archives = {path.name.removesuffix(".tar.gz") for path in served.directory.glob("*.tar.gz")}
    assert {Path(load["url"]).name for load in loads} == archives
    assert {load["model_name"] for load in loads} <= served.server.names()
    assert len(loads) == 5


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_in_the_readme_are_true(served, name):
    shown = [command for command in commands(name) if command.path != "/models"]
    assert shown
    for command in shown:
        response = served.send(command)
        assert response.status_code == 200, response.text
        if response.headers["content-type"] == JSON:
            assert response.json() == nearly(json.loads(command.answer))
        else:
            assert response.text.strip() == command.answer


# -- feature_engineering -------------------------------------------------------------------------


def raw(row: list[float]) -> dict:
    year, area, bedrooms, bathrooms, acres, spaces = row
    return {
        "year_built": str(int(year)),
        "square_feet": f"{int(area):,} Sq. Ft.",
        "bedrooms": int(bedrooms),
        "bathrooms": str(bathrooms),
        "lot": {"acres": acres},
        "garage": {"spaces": int(spaces)},
    }


def test_raw_houses_become_the_features_of_the_model(served):
    table = houses()
    expected = served.booster("feature_engineering").predict(xgb.DMatrix(table))
    body = json.dumps([raw(row) for row in table.to_numpy().tolist()])

    served_json = scores(served.server.invoke("houses", body, f"{JSON}; charset=utf-8"))
    served_csv = scores(served.server.invoke("houses", csv_of(table), CSV))

    assert np.array_equal(served_json, expected)
    assert np.array_equal(served_csv, expected)


def test_null_is_missing_and_square_metres_are_converted(served):
    house = HOUSE | {"square_feet": "300 sq m", "lot": None, "garage": {"spaces": None}}
    row = np.float32([[1995, 300 * 10.7639, 3, 2.5, np.nan, np.nan]])
    matrix = xgb.DMatrix(row, feature_names=list(FEATURES))

    answered = scores(served.server.invoke("houses", json.dumps(house), JSON))

    assert np.array_equal(answered, served.booster("feature_engineering").predict(matrix))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bedrooms": "many"}, 'house 1, bedrooms: "many" is not a number, or not in a known unit'),
        ({"bedrooms": True}, "house 1, bedrooms: a bool is not a number, or not in a known unit"),
        ({"bathrooms": float("nan")}, "house 1, bathrooms: a float is not a number, or not in a"),
        ({"square_feet": "3 acres"}, 'house 1, square_feet: "3 acres" is not a number, or not in'),
        ({"year_built": 95}, "house 1, year_built: 95 is not between 1,600 and 2,100"),
        ({"bedrooms": -(10**400)}, "house 1, bedrooms: -1e+09 is not between 0 and 100"),
        ({"bedrooms": "9" * 400}, "house 1, bedrooms: inf is not between 0 and 100"),
        ({"lot": 1.0}, "house 1, lot.acres: not within a JSON object"),
        ({"lot": {}}, "house 1, lot.acres: not there; write null if it is not known"),
    ],
)
def test_a_bad_house_is_refused_with_the_reason(served, changes, message):
    status, said = refusal(served.server.invoke("houses", json.dumps(HOUSE | changes), JSON))
    assert status == 400
    assert said.startswith(message)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "message"),
    [
        ("{", JSON, 400, "the body is not valid JSON"),
        ("[" * 100_000, JSON, 400, "the body is not valid JSON"),
        ("[]", JSON, 400, "the list is empty; send at least one house"),
        (json.dumps([HOUSE, None]), JSON, 400, "house 2, year_built: not within a JSON object"),
        ("1995,3000", CSV, 400, "line 1: got 2 values, the model takes 6"),
        ("<house/>", "text/xml", 415, "content type 'text/xml' is not supported"),
    ],
)
def test_a_bad_body_is_refused(served, body, content_type, status, message):
    answered = refusal(served.server.invoke("houses", body, content_type))
    assert answered[0] == status
    assert answered[1].startswith(message)


# -- price_band ----------------------------------------------------------------------------------


def test_prices_are_rounded_and_in_their_bands(served):
    table = houses(200)
    expected = served.booster("price_band").predict(xgb.DMatrix(table))

    answers = served.server.invoke("bands", csv_of(table)).json()["predictions"]

    assert [answer["price"] for answer in answers] == [round(p / 100) * 100 for p in expected]
    assert {answer["currency"] for answer in answers} == {"USD"}
    bands = np.array(["low", "mid", "high"])[
        np.digitize([answer["price"] for answer in answers], [400_000, 550_000])
    ]
    assert [answer["band"] for answer in answers] == list(bands)
    assert set(bands) == {"low", "mid", "high"}


@pytest.mark.parametrize(("accept", "status"), [("*/*", 200), (CSV, 406), ("text/html", 406)])
def test_prices_come_as_json_only(served, accept, status):
    response = served.server.invoke("bands", csv_of(houses(1)), headers={"accept": accept})
    assert response.status_code == status
    assert response.headers["content-type"] == JSON


# -- sklearn_pipeline ----------------------------------------------------------------------------


def test_missing_numbers_are_filled_in_and_the_city_is_encoded(served):
    learned = json.loads((served.directory / "sklearn_pipeline/code/columns.json").read_text())
    table = houses(60).astype(float)
    table.iloc[::3, 2] = np.nan
    cities = ["Houston_TX", "NewYork_NY", "Atlantis"] * 20
    one_hot = [[float(city == known) for known in learned["cities"]] for city in cities]
    filled = table.fillna(dict(zip(FEATURES, learned["medians"], strict=True)))
    matrix = xgb.DMatrix(np.hstack([filled.to_numpy(), one_hot]))

    answered = scores(served.server.invoke("cities", csv_of(table.assign(CITY=cities))))

    assert np.array_equal(answered, served.booster("sklearn_pipeline").predict(matrix))
    assert answered[1] > answered[2]  # in New York a house costs more


def test_the_model_is_charged_with_the_memory_that_it_asks_for(served):
    assert served.server.metric("mme_model_memory_bytes", model="cities") == 100 << 20


@pytest.mark.parametrize(
    ("body", "content_type", "status", "message"),
    [
        ("1,2,3,Houston_TX", CSV, 400, "line 1: got 4 values, the model takes 7"),
        ("1,2,3,4,5,6,x\n1,2,x,4,5,6,x", CSV, 400, "line 2: could not convert string to float"),
        ("1,2,3,4,5,1e999,x", CSV, 400, "line 1: a number is too large"),
        ("1,2,3,4,5,6," + "x" * 200_000, CSV, 400, "the body is not valid CSV: field larger"),
        ("", CSV, 400, "the body is empty; send at least one row"),
        ("[]", JSON, 415, "this model reads text/csv only"),
    ],
)
def test_the_pipeline_refuses_a_bad_body(served, body, content_type, status, message):
    answered = refusal(served.server.invoke("cities", body, content_type))
    assert answered[0] == status
    assert answered[1].startswith(message)


def test_what_is_required_and_not_installed_is_named_in_the_log(served):
    with tarfile.open(served.directory / "sklearn_pipeline.tar.gz") as tar:
        tar.extractall(served.directory / "future", filter="data")
    (served.directory / "future/code/requirements.txt").write_text("scikit-learn>=99\n")
    assert served.server.load("future", served.directory / "future")[0] == 500
    line = served.server.wait_log(model="future", level="error")
    assert "asks for what is not there: scikit-learn>=99 (installed: " in line["reason"]


# -- multiclass_labels ---------------------------------------------------------------------------


def test_classes_without_and_with_names(served):
    table = houses()
    expected = served.booster("multiclass_labels").predict(xgb.DMatrix(table))
    best = expected.argmax(axis=1)
    names = ["low", "mid", "high"]
    body = csv_of(table)

    plain = served.server.invoke("plain", body).json()["predictions"]
    assert [answer["predicted_label"] for answer in plain] == list(best)
    assert np.array_equal(np.float32([answer["probabilities"] for answer in plain]), expected)

    named = served.server.invoke("named", body).json()["predictions"]
    assert [answer["label"] for answer in named] == [names[label] for label in best]
    probabilities = [[answer["probabilities"][name] for name in names] for answer in named]
    assert np.array_equal(np.float32(probabilities), expected)

    as_csv = served.server.invoke("named", body, headers={"accept": CSV})
    assert as_csv.text.split() == [names[label] for label in best]
    other = served.server.invoke("named", body, headers={"accept": "application/x-npy"})
    assert np.array_equal(np.load(io.BytesIO(other.content)), expected)
    plain_csv = served.server.invoke("plain", body, headers={"accept": CSV}).text
    assert [int(label) for label, _ in csv.reader(io.StringIO(plain_csv))] == list(best)


@pytest.mark.parametrize("name", ["plain", "named"])
def test_what_cannot_be_written_is_not_acceptable(served, name):
    response = served.server.invoke(name, csv_of(houses(1)), headers={"accept": "text/html"})
    status, message = refusal(response)
    assert status == 406
    assert message.startswith("cannot answer with 'text/html'; accept one of: ")
