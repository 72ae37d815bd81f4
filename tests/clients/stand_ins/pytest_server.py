"""A pytest plugin that stands in for pytest-docker, testcontainers and the AtomPub reads of suites
that are published for them: the server already runs, at SERVER_HOST:SERVER_PORT, without TLS.

    PYTHONPATH=<this folder> pytest -p no:docker -p pytest_server ...

Results go to SERVER_RESULTS, one line of JSON for each test.
"""

import json
import os
import sys
import time
import types

import pytest

HOST = os.environ.get("SERVER_HOST", "localhost")
PORT = int(os.environ.get("SERVER_PORT", "2113"))
RESULTS = os.environ.get("SERVER_RESULTS")


class Services:
    """What pytest-docker offers of the services it started."""

    def port_for(self, _service, _port):
        return PORT

    def wait_until_responsive(self, check, timeout, pause):
        end = time.monotonic() + min(timeout, 10)
        while not check():
            assert time.monotonic() < end, f"nothing answers on {HOST}:{PORT}"
            time.sleep(pause)


class DockerContainer:
    """A container of testcontainers: whatever is asked of it was done already."""

    def __init__(self, *_arguments, **_named):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        return False

    def get_wrapped_container(self):
        return types.SimpleNamespace(id="none", short_id="none")

    def get_logs(self):
        return b"", b""

    def get_container_host_ip(self):
        return HOST

    def get_exposed_port(self, _port):
        return PORT

    def __getattr__(self, name):
        if name.startswith("with_"):
            return lambda *_arguments, **_named: self
        raise AttributeError(name)


def module(name, **members):
    """A module of this name, unless the real one is installed and was imported."""
    made = sys.modules.setdefault(name, types.ModuleType(name))
    for member, value in members.items():
        setattr(made, member, value)
    return made


plugin = module("pytest_docker.plugin", Services=Services)
module("pytest_docker", plugin=plugin)
core = module("testcontainers.core")
core.container = module("testcontainers.core.container", DockerContainer=DockerContainer)
module("testcontainers", core=core)


@pytest.fixture(scope="session")
def docker_services():
    return Services()


@pytest.fixture(scope="session")
def docker_ip():
    return HOST


def read_stream(_self, stream_name, event_id=None):
    """In place of a feed over AtomPub: the same entries, read over gRPC by another client."""
    from esdbclient import EventStoreDBClient

    def text(data):
        return data.decode()

    client = EventStoreDBClient(f"esdb://{HOST}:{PORT}?tls=false")
    entries = [
        {
            "eventId": str(event.id),
            "eventType": event.type,
            "eventNumber": event.stream_position,
            "positionEventNumber": event.stream_position,
            "streamId": event.stream_name,
            "isJson": event.content_type == "application/json",
            "data": text(event.data),
            "isMetaData": bool(event.metadata),
            "metaData": text(event.metadata) or None,
        }
        for event in client.get_stream(stream_name)
    ]
    client.close()
    return entries if event_id is None else entries[event_id]


def pytest_collection_finish():
    """The suite's own helper reads over AtomPub, which the server does not offer."""
    helper = getattr(sys.modules.get("tests.utils"), "EventstoreHTTP", None)
    if helper is not None:
        helper.read_stream = read_stream


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if RESULTS and (report.when == "call" or report.outcome != "passed" and report.when == "setup"):
        detail = "" if call.excinfo is None else f"{call.excinfo.typename}: {call.excinfo.value}"
        passed = {"passed": "works", "failed": "differs", "skipped": "absent"}[report.outcome]
        if report.outcome == "skipped" and hasattr(report, "wasxfail"):
            passed, detail = "works", ""  # it fails, as the suite says it shall
        line = {"test": item.nodeid, "outcome": passed, "detail": " ".join(detail.split())[:400]}
        with open(RESULTS, "a", encoding="utf-8") as results:
            results.write(json.dumps(line) + "\n")
