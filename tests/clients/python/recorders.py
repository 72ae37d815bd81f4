"""Runs the recorder cases that `eventsourcing` ships against `eventsourcing-kurrentdb`, the
recorders of an event sourcing library on the Kurrent client; results are lines of JSON.

recorders.py --port 2113 [--ca FILE] --out FILE

Notifications are numbered by the position of their event in the log, so what the shipped case
expects of numbers from 1 without gaps is written anew here (`test_insert_select`).
"""

import argparse
import importlib.metadata
import json
import unittest
from uuid import uuid4

from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.tests.persistence import (
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    InfrastructureFactoryTestCase,
    NonInterleavingNotificationIDsBaseCase,
)
from eventsourcing.utils import Environment
from eventsourcing_kurrentdb import KurrentDBFactory
from eventsourcing_kurrentdb.recorders import (
    KurrentDBAggregateRecorder,
    KurrentDBApplicationRecorder,
)
from kurrentdbclient import KurrentDBClient

parser = argparse.ArgumentParser()
parser.add_argument("--host", default="localhost")
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--ca")
parser.add_argument("--out", required=True)
OPTIONS = parser.parse_args()
AT = f"{OPTIONS.host}:{OPTIONS.port}"
URI = (
    f"esdb://admin:changeit@{AT}?tlsCAFile={OPTIONS.ca}"
    if OPTIONS.ca
    else f"esdb://{AT}?tls=false"
)
CLIENT = KurrentDBClient(URI)


class AggregateRecorder(AggregateRecorderTestCase):
    INITIAL_VERSION = 0

    def create_recorder(self):
        return KurrentDBAggregateRecorder(CLIENT)


class SnapshotRecorder(unittest.TestCase):
    def test_latest_snapshot(self):
        recorder = KurrentDBAggregateRecorder(CLIENT, for_snapshotting=True)
        aggregate = uuid4()
        for version in (3, 7, 5):  # the last comes too late
            recorder.insert_events([StoredEvent(aggregate, version, "Snapshot", b"{}")])
        (latest,) = recorder.select_events(aggregate, desc=True, limit=1)
        self.assertEqual(latest.originator_version, 7)


class ApplicationRecorder(ApplicationRecorderTestCase):
    INITIAL_VERSION = 0
    EXPECT_CONTIGUOUS_NOTIFICATION_IDS = False

    def create_recorder(self):
        return KurrentDBApplicationRecorder(CLIENT)

    def test_insert_select(self):
        recorder, one, two = self.create_recorder(), str(uuid4()), str(uuid4())
        before = recorder.max_notification_id()

        def stored(aggregate, version, topic):
            return StoredEvent(aggregate, version, topic, b"state")

        both = [stored(one, 0, "topic1"), stored(one, 1, "topic2")]
        ids = list(recorder.insert_events(both))
        ids += recorder.insert_events([stored(two, 0, "topic3")])
        with self.assertRaises(IntegrityError):
            recorder.insert_events([stored(two, 0, "topic3")])
        self.assertEqual(recorder.max_notification_id(), ids[-1])

        def selected(limit=10, **named):
            found = recorder.select_notifications(before, limit, inclusive_of_start=False, **named)
            return [notification.topic for notification in found]

        self.assertEqual(selected(), ["topic1", "topic2", "topic3"])
        self.assertEqual(selected(limit=2), ["topic1", "topic2"])
        self.assertEqual(selected(topics=["topic1", "topic3"]), ["topic1", "topic3"])
        self.assertEqual(selected(stop=ids[1]), ["topic1", "topic2"])
        (last,) = recorder.select_notifications(ids[-1], 10)
        self.assertEqual((last.topic, last.originator_id), ("topic3", two))

    def test_concurrent_no_conflicts(self, initial_position=0):
        del initial_position
        super().test_concurrent_no_conflicts(self.create_recorder().max_notification_id() or 0)

    def test_subscribe(self):
        recorder, aggregate = self.create_recorder(), str(uuid4())
        before = recorder.max_notification_id()
        recorder.insert_events([StoredEvent(aggregate, 0, "before", b"")])
        with recorder.subscribe(gt=before) as subscription:
            self.assertEqual(next(subscription).topic, "before")
            recorder.insert_events([StoredEvent(aggregate, 1, "after", b"")])
            self.assertEqual(next(subscription).topic, "after")


class NonInterleaving(NonInterleavingNotificationIDsBaseCase):
    def new_originator_id(self):
        return str(uuid4())  # as notifications name it

    def create_recorder(self):
        return KurrentDBApplicationRecorder(CLIENT)


class Factory(InfrastructureFactoryTestCase):
    def setUp(self):
        self.env = Environment("App")
        self.env["PERSISTENCE_MODULE"] = "eventsourcing_kurrentdb"
        self.env["KURRENTDB_URI"] = URI
        super().setUp()

    def expected_factory_class(self):
        return KurrentDBFactory

    def expected_aggregate_recorder_class(self):
        return KurrentDBAggregateRecorder

    def expected_application_recorder_class(self):
        return KurrentDBApplicationRecorder

    def expected_tracking_recorder_class(self):
        raise unittest.SkipTest("has no tracking recorder")

    def tracking_recorder_subclass(self):
        raise unittest.SkipTest("has no tracking recorder")

    def expected_process_recorder_class(self):
        raise unittest.SkipTest("has no process recorder")

    def test_create_tracking_recorder(self):
        raise unittest.SkipTest("has no tracking recorder")

    def test_create_process_recorder(self):
        raise unittest.SkipTest("has no process recorder")


class Lines(unittest.TestResult):
    """Writes a line of JSON for each test."""

    def __init__(self, out):
        super().__init__()
        self.out = out

    def write(self, test, outcome, detail=""):
        name = test.id().removeprefix("__main__.")
        detail = " ".join(str(detail).split())[:400]
        self.out.write(json.dumps({"test": name, "outcome": outcome, "detail": detail}) + "\n")
        self.out.flush()

    def addSuccess(self, test):
        self.write(test, "works")

    def addSkip(self, test, reason):
        self.write(test, "absent", reason)

    def addFailure(self, test, error):
        self.write(test, "differs", f"{error[0].__name__}: {error[1]}")

    addError = addFailure


CASES = [AggregateRecorder, SnapshotRecorder, ApplicationRecorder, NonInterleaving, Factory]

with open(OPTIONS.out, "a", encoding="utf-8") as lines:
    for case in CASES:
        unittest.defaultTestLoader.loadTestsFromTestCase(case).run(Lines(lines))
print(importlib.metadata.version("eventsourcing-kurrentdb"))
