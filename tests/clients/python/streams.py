"""Checks of appending to streams and of reading them."""

import uuid

from harness import Absent, append, check, equal, raises, take, until

MISSING = ("NotFoundError", "NotFound")
CONFLICT = ("WrongCurrentVersionError", "WrongCurrentVersion")
DELETED = ("StreamIsDeletedError", "StreamIsDeleted")
# What the clients make of the same answer to an append of one event.
REFUSED = (*DELETED, "FailedPreconditionError", "FailedPrecondition")


@check("append-any")
def append_any(c):
    stream = c.name("any")
    first = append(c, stream, c.event(), c.library.StreamState.ANY)
    second = append(c, stream, c.event(), c.library.StreamState.ANY)
    assert second > first, (first, second)
    equal([event.stream_position for event in c.client.get_stream(stream)], [0, 1])


@check("append-no-stream")
def append_no_stream(c):
    stream = c.name("no")
    position = append(c, stream, c.event(), c.library.StreamState.NO_STREAM)
    (event,) = c.client.get_stream(stream)
    equal(event.commit_position, position)


@check("append-revision")
def append_revision(c):
    stream = c.filled("at", 2)
    append(c, stream, c.event(), 1)
    equal(c.client.get_current_version(stream), 2)


@check("append-exists")
def append_exists(c):
    stream = c.filled("exists", 1)
    append(c, stream, c.event(), c.library.StreamState.EXISTS)
    equal(c.client.get_current_version(stream), 1)


@check("append-no-stream-conflict")
def append_no_stream_conflict(c):
    stream, state = c.filled("no", 3), c.library.StreamState
    error = raises(c.error(*CONFLICT), append, c, stream, c.event(), state.NO_STREAM)
    assert "2" in str(error), error


@check("append-revision-conflict")
def append_revision_conflict(c):
    stream = c.filled("at", 3)
    raises(c.error(*CONFLICT), append, c, stream, c.event(), 1)
    raises(c.error(*CONFLICT), append, c, stream, c.event(), 7)
    raises(c.error(*CONFLICT), append, c, stream, c.events(2), 1)
    equal(c.client.get_current_version(stream), 2)


@check("append-exists-conflict")
def append_exists_conflict(c):
    state = c.library.StreamState
    raises(c.error(*CONFLICT), append, c, c.name("exists"), c.event(), state.EXISTS)


@check("append-again")
def append_again(c):
    stream, events = c.name("again"), c.events(3)
    state = c.library.StreamState
    first = append(c, stream, events, state.NO_STREAM)
    equal(append(c, stream, events, state.NO_STREAM), first)
    equal(append(c, stream, events, state.ANY), first)
    equal(append(c, stream, events[1:], 0), first)
    equal(c.client.get_current_version(stream), 2)
    raises(c.error(*CONFLICT), append, c, stream, [events[2], c.event()], state.ANY)


@check("append-batch")
def append_batch(c):
    stream, events = c.name("batch"), c.events(500)
    position = append(c, stream, events, c.library.StreamState.NO_STREAM)
    stored = c.client.get_stream(stream)
    equal([event.id for event in stored], [event.id for event in events])
    equal(stored[-1].commit_position, position)


@check("append-large")
def append_large(c):
    stream = c.name("large")
    data = bytes(range(256)) * 4 * 1024 * 4
    event = c.event(data=data, content_type="application/octet-stream")
    append(c, stream, event, c.library.StreamState.NO_STREAM)
    (stored,) = c.client.get_stream(stream)
    assert stored.data == data
    equal(stored.content_type, "application/octet-stream")


@check("append-fields")
def append_fields(c):
    stream, kind = c.name("fields"), "Etwas-Größeres $ <x>"
    event = c.event(kind, '{"ü":"€"}'.encode(), metadata=b'{"by":"me"}')
    append(c, stream, event, c.library.StreamState.NO_STREAM)
    (stored,) = c.client.get_stream(stream)
    equal(
        (stored.id, stored.type, stored.data, stored.metadata, stored.content_type),
        (event.id, kind, event.data, b'{"by":"me"}', "application/json"),
    )
    equal((stored.stream_name, stored.commit_position), (stream, stored.prepare_position))


@check("append-streams")
def append_streams(c):
    if not hasattr(c.client, "multi_append_to_stream"):
        raise Absent("appends to one stream at a time")
    state, kind = c.library.StreamState, c.library.NewEvents
    one, two = c.name("one"), c.name("two")
    event = c.event(metadata=b'{"by":"me"}')
    position = c.client.multi_append_to_stream(
        [kind(one, [event, c.event()], state.NO_STREAM), kind(two, [c.event()], state.ANY)]
    )
    first, last = c.client.get_stream(one), c.client.get_stream(two)
    equal((len(first), len(last), last[-1].commit_position), (2, 1, position))
    assert b'"$schema.name"' in first[0].metadata and b'"by"' in first[0].metadata
    other = c.name("other")
    wrong = [kind(other, [c.event()], state.ANY), kind(one, [c.event()], 7)]
    error = raises(c.error(*CONFLICT), c.client.multi_append_to_stream, wrong)
    assert one in str(error) or "1" in str(error), error
    raises(c.error(*MISSING), c.client.get_stream, other)
    twice = [kind(other, [c.event()], state.ANY), kind(other, [c.event()], state.ANY)]
    raises(c.error("MultiAppendToSameStreamError"), c.client.multi_append_to_stream, twice)


@check("append-records")
def append_records(c):
    if not hasattr(c.client, "append_records"):
        raise Absent("appends to one stream at a time")
    state, looked_at = c.library.StreamState, c.filled("looked", 2)
    one, two = c.name("one"), c.name("two")

    def record(stream):
        return c.library.NewRecord(stream_name=stream, type="Happened", data=b"{}")

    def expect(stream, expected):
        return c.library.StreamStateCheck(stream_name=stream, expected_state=expected)

    checks = [expect(looked_at, 1), expect(one, state.NO_STREAM)]
    result = c.client.append_records([record(one), record(two), record(one)], checks)
    positions = {each.stream_name: each.stream_position for each in result.stream_positions}
    equal(positions, {one: 1, two: 0})
    equal(c.client.get_stream(one)[-1].commit_position, result.commit_position)
    wrong = [expect(looked_at, 0), expect(one, state.NO_STREAM)]
    kind = c.error("ConsistencyChecksFailedError")
    raises(kind, c.client.append_records, [record(two)], wrong)
    equal(c.client.get_current_version(two), 0)


@check("read-stream")
def read_stream(c):
    stream = c.filled("read", 10)
    equal([e.stream_position for e in c.client.read_stream(stream)], list(range(10)))
    some = c.client.read_stream(stream, stream_position=4, limit=3)
    equal([event.stream_position for event in some], [4, 5, 6])
    equal(list(c.client.read_stream(stream, stream_position=10)), [])


@check("read-stream-backwards")
def read_stream_backwards(c):
    stream = c.filled("read", 10)
    back = c.client.read_stream(stream, backwards=True)
    equal([event.stream_position for event in back], list(reversed(range(10))))
    some = c.client.read_stream(stream, backwards=True, stream_position=4, limit=2)
    equal([event.stream_position for event in some], [4, 3])


@check("read-missing")
def read_missing(c):
    stream = c.name("missing")
    raises(c.error(*MISSING), c.client.get_stream, stream)
    equal(c.client.get_current_version(stream), c.library.StreamState.NO_STREAM)


@check("read-all")
def read_all(c):
    stream = c.filled("all", 5)
    first = c.client.get_stream(stream)[0].commit_position
    events = c.client.read_all(commit_position=first, filter_exclude=())
    own = [event for event in events if event.stream_name == stream]
    equal([event.stream_position for event in own], [0, 1, 2, 3, 4])
    (only,) = c.client.read_all(commit_position=first, limit=1)
    equal((only.stream_name, only.stream_position), (stream, 0))


@check("read-all-backwards")
def read_all_backwards(c):
    stream = c.filled("all", 5)
    last = c.client.get_stream(stream)[-1].commit_position
    events = take(c.client.read_all(backwards=True, filter_exclude=()), 5)
    positions = [event.commit_position for event in events]
    equal(positions, sorted(positions, reverse=True))
    assert positions[0] >= last
    before = c.client.read_all(backwards=True, commit_position=last, limit=10)
    own = [event for event in before if event.stream_name == stream]
    assert len(own) >= 4, own


@check("read-all-filter-type")
def read_all_filter_type(c):
    kind = c.name("Type").replace("-", "")
    c.filled("filter", 3, kind)
    c.filled("filter", 2, kind + "More")
    equal(len(list(c.client.read_all(filter_include=[kind]))), 3)
    equal(len(list(c.client.read_all(**by_prefix(c, kind)))), 5)
    others = list(c.client.read_all(filter_exclude=[f"{kind}.*"]))
    assert others and not any(event.type.startswith(kind) for event in others)


@check("read-all-filter-stream")
def read_all_filter_stream(c):
    prefix = c.name("prefix")
    c.filled(f"{prefix}a", 3)
    c.filled(f"{prefix}b", 2)
    one = c.client.read_all(filter_include=[f"{prefix}a.*"], filter_by_stream_name=True)
    equal(len(list(one)), 3)
    both = c.client.read_all(filter_by_stream_name=True, **by_prefix(c, prefix))
    equal(len(list(both)), 5)


def by_prefix(c, prefix):
    """A filter for what begins so: the older client can say it by a pattern only."""
    if c.package == "esdbclient":
        return {"filter_include": [f"{prefix}.*"]}
    return {"filter_include": [prefix], "filter_by_prefix": True}


@check("read-last-position")
def read_last_position(c):
    stream = c.filled("last", 1)
    (event,) = c.client.get_stream(stream)
    assert c.client.get_commit_position() >= event.commit_position


@check("read-links")
def read_links(c):
    stream, links = c.filled("target", 2), c.name("links")
    data = f"1@{stream}".encode()
    append(c, links, c.event("$>", data), c.library.StreamState.NO_STREAM)
    (plain,) = c.client.get_stream(links)
    equal((plain.type, plain.data), ("$>", data))
    (resolved,) = c.client.get_stream(links, resolve_links=True)
    equal((resolved.stream_name, resolved.stream_position), (stream, 1))
    equal((resolved.link.stream_name, resolved.link.stream_position), (links, 0))


@check("read-category")
def read_category(c):
    category = c.name("category").replace("-", "")
    for _ in range(2):
        c.filled(category, 2)
    events = until(lambda: read_four(c, f"$ce-{category}"))
    assert all(event.stream_name.startswith(category) for event in events), events
    equal([event.link.stream_position for event in events], [0, 1, 2, 3])


@check("read-event-type")
def read_event_type(c):
    kind = c.name("Kind").replace("-", "")
    c.filled("one", 2, kind)
    c.filled("two", 2, kind)
    events = until(lambda: read_four(c, f"$et-{kind}"))
    equal({event.type for event in events}, {kind})


def read_four(c, stream):
    """The four events that links stand for, as soon as all are there."""
    try:
        events = c.client.get_stream(stream, resolve_links=True)
    except c.error(*MISSING):
        return None
    return events if len(events) == 4 else None


@check("metadata")
def metadata(c):
    stream, state = c.filled("meta", 3), c.library.StreamState
    equal(c.client.get_stream_metadata(stream), ({}, state.NO_STREAM))
    c.client.set_stream_metadata(stream, metadata={"foo": "bar", "$maxCount": 2})
    equal(c.client.get_stream_metadata(stream), ({"foo": "bar", "$maxCount": 2}, 0))
    equal([event.stream_position for event in c.client.get_stream(stream)], [1, 2])
    c.client.set_stream_metadata(stream, metadata={"$tb": 2}, current_version=0)
    equal([event.stream_position for event in c.client.get_stream(stream)], [2])
    kind = c.error(*CONFLICT)
    raises(kind, c.client.set_stream_metadata, stream, metadata={}, current_version=0)


@check("delete")
def delete(c):
    stream, state = c.filled("delete", 3), c.library.StreamState
    c.client.delete_stream(stream, current_version=2)
    raises(c.error(*MISSING), c.client.get_stream, stream)
    append(c, stream, c.event(), state.NO_STREAM)
    equal([event.stream_position for event in c.client.get_stream(stream)], [3])
    c.client.delete_stream(stream, current_version=state.ANY)
    error = raises(c.error(*REFUSED), append, c, stream, c.event(), state.EXISTS)
    assert "is deleted" in str(error), error


@check("delete-conflict")
def delete_conflict(c):
    stream = c.filled("delete", 3)
    raises(c.error(*CONFLICT), c.client.delete_stream, stream, current_version=1)
    state = c.library.StreamState.ANY
    raises(c.error(*MISSING), c.client.delete_stream, c.name("no"), current_version=state)


@check("tombstone")
def tombstone(c):
    stream, state = c.filled("tombstone", 3), c.library.StreamState
    raises(c.error(*CONFLICT), c.client.tombstone_stream, stream, current_version=1)
    c.client.tombstone_stream(stream, current_version=2)
    kind = c.error(*DELETED)
    raises(kind, c.client.get_stream, stream)
    error = raises(c.error(*REFUSED), append, c, stream, c.event(), state.ANY)
    assert "is deleted" in str(error), error
    raises(kind, append, c, stream, c.events(2), state.ANY)
    raises(kind, c.client.delete_stream, stream, current_version=state.ANY)
    raises(kind, c.client.get_stream_metadata, stream)


@check("append-unread-id")
def append_same_id_elsewhere(c):
    event, state = c.event(id=uuid.uuid4()), c.library.StreamState
    one, two = c.name("one"), c.name("two")
    append(c, one, event, state.ANY)
    append(c, two, event, state.ANY)
    equal(c.client.get_current_version(two), 0)
