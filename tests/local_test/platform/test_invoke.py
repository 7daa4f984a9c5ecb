from __future__ import annotations

import pytest

from support.local_platform import Platform, ScriptedRuntime, record

pytestmark = pytest.mark.anyio


async def test_a_model_is_loaded_when_it_is_first_named(
    local: Platform, runtime: ScriptedRuntime
) -> None:
    local.store.put("a.tar.gz")
    await local.deploy(record())
    assert await local.ask("a.tar.gz", b"1,2") == "a.tar.gz 1,2"
    assert await local.ask("a.tar.gz", b"3") == "a.tar.gz 3"
    assert [kind for kind, _ in runtime.script.log] == ["load"]
