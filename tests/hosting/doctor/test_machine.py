from __future__ import annotations

import socket

import pytest

from mme_hosting.doctor import machine
from support.doctor import one, setup


def test_the_software_of_this_machine():
    status, text = one(machine.software, setup())
    assert status == "ok"
    assert "boto3 1." in text


def test_a_boto3_that_is_too_old(monkeypatch):
    monkeypatch.setattr(machine.metadata, "version", lambda _: "1.40.0")
    status, text = one(machine.software, setup())
    assert status == "failed"
    assert text.endswith("| pip install 'boto3>=1.43.90'")


@pytest.mark.parametrize(("gib", "status"), [(4, "warning"), (6, "ok")])
def test_room_on_the_disk(monkeypatch, gib, status):
    usage = type("Usage", (), {"free": gib * 2**30})
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage)
    assert one(machine.disk, setup())[0] == status


def test_without_an_engine_only_a_push_is_impossible(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    status, text = one(machine.docker, setup())
    assert status == "warning"
    assert "no Docker engine answers" in text
    assert "mme push" in text


def test_ports_that_are_taken(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        monkeypatch.setitem(machine._PORTS, "mme serve", port)
        status, text = one(machine.ports, setup(local=True))
    assert (status, text) == ("warning", f"port {port} is taken | mme serve --port {port + 1}")
    status, text = one(machine.ports, setup(local=True))
    assert (status, text) == ("ok", f"free on this machine: {port} (mme serve) | ")
