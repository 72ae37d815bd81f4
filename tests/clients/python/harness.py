"""Checks of a client, each a function with a stable name, and how they are run and reported.

A check ends in one of three ways: it returns (the call works), it raises (the client saw something
else than it should) or it raises `Absent` (the client has no such call). A check that does not end
in time has failed, and the ones behind it run all the same.
"""

import importlib
import json
import sys
import threading
import time
import traceback
import uuid
from dataclasses import dataclass, field

CHECKS = {}
CHECK_SECONDS = 40.0


class Absent(Exception):
    """The client has no such call."""


def check(name, tls_only=False):
    """Registers a function of a `Context` as the check of this name."""

    def register(function):
        assert name not in CHECKS, name
        CHECKS[name] = (function, tls_only)
        return function

    return register


@dataclass
class Context:
    """What a check works with: the client's package and where the server is."""

    package: str
    host: str
    port: int
    ca_file: str | None
    made: list = field(default_factory=list)

    def __post_init__(self):
        self.library = importlib.import_module(self.package)
        self.errors = importlib.import_module(f"{self.package}.exceptions")
        self.client = self.connect("admin", "changeit")

    @property
    def tls(self):
        return self.ca_file is not None

    def uri(self, user, password, extra="", scheme="esdb", hosts=None):
        hosts = hosts or f"{self.host}:{self.port}"
        if self.tls:
            return f"{scheme}://{user}:{password}@{hosts}?tlsCAFile={self.ca_file}{extra}"
        return f"{scheme}://{hosts}?tls=false{extra}"

    def connect(self, user, password, **more):
        """A client of its own, closed when all checks are done."""
        kind = {"kurrentdbclient": "KurrentDBClient", "esdbclient": "EventStoreDBClient"}
        client = getattr(self.library, kind[self.package])(self.uri(user, password, **more))
        self.made.append(client)
        return client

    def error(self, *names):
        """The exception classes of these names: the two clients name some differently."""
        found = [getattr(self.errors, name) for name in names if hasattr(self.errors, name)]
        assert found, names
        return tuple(found)

    def name(self, prefix):
        return f"{prefix}-{uuid.uuid4().hex}"

    def event(self, kind="Happened", data=b'{"a":1}', **more):
        return self.library.NewEvent(type=kind, data=data, **more)

    def events(self, count, kind="Happened"):
        return [self.event(kind, json.dumps({"n": n}).encode()) for n in range(count)]

    def filled(self, prefix, count, kind="Happened"):
        """The name of a new stream that holds `count` events."""
        stream = self.name(prefix)
        append(self, stream, self.events(count, kind), self.library.StreamState.NO_STREAM)
        return stream


def append(c, stream, events, version):
    """One event is one Append call of the client, several are a batch."""
    return c.client.append_to_stream(stream, current_version=version, events=events)


def raises(kinds, call, *arguments, **named):
    """Calls, and returns the error, which must be of one of these kinds."""
    try:
        result = call(*arguments, **named)
    except kinds as error:
        return error
    names = " or ".join(kind.__name__ for kind in kinds)
    raise AssertionError(f"expected {names}, got {result!r}")


def equal(got, expected):
    assert got == expected, f"expected {expected!r}, got {got!r}"


def take(iterator, count):
    """The next `count` items."""
    return [next(iterator) for _ in range(count)]


def until(condition, seconds=15.0):
    """Waits for a condition, whose value it returns."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.05)


def outcome_of(function, context):
    result = {}

    def run():
        try:
            function(context)
            result.update(outcome="works")
        except Absent as absent:
            result.update(outcome="absent", detail=str(absent))
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {error} ({place.name})"
            result.update(outcome="differs", detail=" ".join(text.split())[:400])

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(CHECK_SECONDS)
    return dict(result) or {"outcome": "differs", "detail": f"no end within {CHECK_SECONDS:.0f} s"}


def run(context, client, only, write):
    """Runs every check, or those whose name begins so, and writes a line for each."""
    for name, (function, tls_only) in CHECKS.items():
        if only and not name.startswith(only):
            continue
        if tls_only and not context.tls:
            result = {"outcome": "absent", "detail": "sends no credentials without TLS"}
        else:
            result = outcome_of(function, context)
        line = {"client": client, "tls": context.tls, "call": name, **result}
        write(json.dumps(line))
        if result["outcome"] == "differs":
            print(f"{client} {name}: {result['detail']}", file=sys.stderr, flush=True)
