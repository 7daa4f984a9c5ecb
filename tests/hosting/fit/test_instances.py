from __future__ import annotations

from pathlib import Path

import botocore.session
import pytest

from mme_hosting.context import is_gpu
from mme_hosting.errors import HostingError
from mme_hosting.fit.instances import GIB, choose, table
from mme_local.containers.instance_types import find


def test_sizes_are_those_of_the_local_sagemaker() -> None:
    for name, instance in table().items():
        known = find(name)
        assert (instance.vcpus, instance.memory, instance.gpus) == (
            *(known.vcpus, known.memory),
            known.gpus,
        )


def test_all_can_host_and_no_type_has_several_gpus() -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    hosting = set(model.shape_for("ProductionVariantInstanceType").enum)
    for name, instance in table().items():
        assert name in hosting
        assert instance.gpus == is_gpu(name)
        assert bool(instance.gpu_memory) == is_gpu(name)


def test_each_price_says_when_it_was_and_where_it_is_from() -> None:
    priced = [each for each in table().values() if each.usd_per_hour is not None]
    assert len(priced) >= 15
    for each in priced:
        assert each.as_of[:2] == "20"
        assert each.source


def test_own_prices_go_before(tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text(
        "type,vcpus,memory_gib,usd_per_hour,as_of\n"
        "ml.m5.large,,,0.5,2030-01-02\nml.x9.huge,64,512.5,,\n"
    )
    known = table(file)
    mine = known["ml.m5.large"]
    assert (mine.usd_per_hour, mine.as_of, mine.vcpus, mine.memory) == (
        *(0.5, "2030-01-02"),
        *(2, 8 * GIB),
    )
    assert known["ml.x9.huge"].memory == 512.5 * GIB
    assert known["ml.x9.huge"].usd_per_hour is None
    assert known["ml.m5.xlarge"] == table()["ml.m5.xlarge"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("type,price\nml.m5.large,1\n", "the first line names type, vcpus"),
        ("type,usd_per_hour\nml.x9.huge,1\n", "a row needs type, vcpus and memory_gib"),
        ("type,usd_per_hour\nml.m5.large,much\n", "line 2: could not convert"),
        ("type,usd_per_hour\nml.m5.large,-1\n", "line 2: a size or a price"),
        ("type,usd_per_hour\nml.m5.large,nan\n", "line 2: a size or a price"),
        ("type,vcpus\nml.m5.large,0\n", "line 2: a size or a price"),
        ("type,vcpus\nml.m5.large,2,3\n", "cannot be read as CSV"),
        ("", "the first line names"),
    ],
)
def test_mistakes_in_them_are_told(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "prices.csv"
    file.write_text(text)
    with pytest.raises(HostingError, match=reason):
        table(file)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(HostingError, match="No such file"):
        table(tmp_path / "absent.csv")


def test_an_unknown_type_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(HostingError, match=r"did you mean ml\.m5\.large\? Known are ml\.t2"):
        choose(["ml.m5.lage"], table())
    assert [each.name for each in choose(["ml.c5.large", "ml.c5.large"], table())] == [
        "ml.c5.large"
    ]
