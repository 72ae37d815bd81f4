"""Checks of catch-up subscriptions."""

from harness import append, check, equal, raises, take
from streams import by_prefix

LIMIT = {"timeout": 30.0}


def caught_up_of(subscription):
    """The next caught-up message; what comes before it is passed over."""
    for event in subscription:
        if event.is_caught_up:
            return event
    raise AssertionError("the subscription ended")


@check("subscribe-stream")
def subscribe_stream(c):
    stream = c.filled("follow", 3)
    with c.client.subscribe_to_stream(stream, **LIMIT) as subscription:
        equal([event.stream_position for event in take(subscription, 3)], [0, 1, 2])
        append(c, stream, c.events(2), 2)
        equal([event.stream_position for event in take(subscription, 2)], [3, 4])


@check("subscribe-stream-from")
def subscribe_stream_from(c):
    stream = c.filled("follow", 5)
    with c.client.subscribe_to_stream(stream, stream_position=2, **LIMIT) as subscription:
        equal([event.stream_position for event in take(subscription, 2)], [3, 4])
    with c.client.subscribe_to_stream(stream, from_end=True, **LIMIT) as subscription:
        append(c, stream, c.event(), 4)
        equal(next(subscription).stream_position, 5)


@check("subscribe-stream-missing")
def subscribe_stream_missing(c):
    stream = c.name("later")
    with c.client.subscribe_to_stream(stream, **LIMIT) as subscription:
        append(c, stream, c.event(), c.library.StreamState.NO_STREAM)
        equal(next(subscription).stream_position, 0)


@check("subscribe-stream-caught-up")
def subscribe_stream_caught_up(c):
    stream = c.filled("follow", 3)
    subscription = c.client.subscribe_to_stream(stream, include_caught_up=True, **LIMIT)
    with subscription:
        equal([event.is_caught_up for event in take(subscription, 4)], [False] * 3 + [True])
        append(c, stream, c.event(), 2)
        equal(next(subscription).stream_position, 3)


@check("subscribe-stream-tombstoned")
def subscribe_stream_tombstoned(c):
    stream = c.filled("follow", 1)
    c.client.tombstone_stream(stream, current_version=0)

    def follow():
        with c.client.subscribe_to_stream(stream, **LIMIT) as subscription:
            return next(subscription)

    raises(c.error("StreamIsDeletedError", "StreamIsDeleted"), follow)


@check("subscribe-stream-links")
def subscribe_stream_links(c):
    stream, links = c.filled("target", 2), c.name("links")
    subscription = c.client.subscribe_to_stream(links, resolve_links=True, **LIMIT)
    with subscription:
        data = f"1@{stream}".encode()
        append(c, links, c.event("$>", data), c.library.StreamState.NO_STREAM)
        event = next(subscription)
        equal((event.stream_name, event.stream_position), (stream, 1))
        equal(event.link.stream_name, links)


@check("subscribe-all")
def subscribe_all(c):
    stream = c.filled("all", 3)
    first = c.client.get_stream(stream)[0].commit_position
    with c.client.subscribe_to_all(commit_position=first, **LIMIT) as subscription:
        own = [next(subscription), next(subscription)]
        equal([(e.stream_name, e.stream_position) for e in own], [(stream, 1), (stream, 2)])
        append(c, stream, c.event(), 2)
        equal((next(subscription).stream_name, stream), (stream, stream))


@check("subscribe-all-end")
def subscribe_all_end(c):
    subscription = c.client.subscribe_to_all(from_end=True, include_caught_up=True, **LIMIT)
    with subscription:
        caught_up = caught_up_of(subscription)
        stream = c.filled("end", 1)
        event = next(subscription)
        equal((event.stream_name, event.stream_position), (stream, 0))
        assert caught_up.commit_position is None or caught_up.commit_position >= 0


@check("subscribe-all-filter")
def subscribe_all_filter(c):
    kind = c.name("Type").replace("-", "")
    c.filled("filter", 2, kind)
    subscription = c.client.subscribe_to_all(filter_include=[kind], **LIMIT)
    with subscription:
        equal([event.type for event in take(subscription, 2)], [kind, kind])
        c.filled("other", 3)
        c.filled("filter", 1, kind)
        equal(next(subscription).type, kind)


@check("subscribe-all-filter-stream")
def subscribe_all_filter_stream(c):
    prefix = c.name("prefix")
    c.filled(prefix, 2)
    subscription = c.client.subscribe_to_all(
        filter_by_stream_name=True, **by_prefix(c, prefix), **LIMIT
    )
    with subscription:
        assert all(e.stream_name.startswith(prefix) for e in take(subscription, 2))


@check("subscribe-all-checkpoints")
def subscribe_all_checkpoints(c):
    stream = c.filled("many", 600)
    last = c.client.get_stream(stream)[-1].commit_position
    subscription = c.client.subscribe_to_all(
        filter_include=["NoSuchType"],
        include_checkpoints=True,
        window_size=10,
        checkpoint_interval_multiplier=2,
        **LIMIT,
    )
    with subscription:
        positions = checkpoints_until(subscription, last)
        # One for each 20 records, of which 600 are there.
        assert len(positions) >= 30, len(positions)
        more = c.client.get_stream(c.filled("more", 600))
        later = checkpoints_until(subscription, more[500].commit_position)
        assert len(later) >= 25, len(later)
        positions += later
        equal(positions, sorted(set(positions)))


def checkpoints_until(subscription, last):
    """The positions of checkpoints, up to one that has passed `last`."""
    positions = []
    while not positions or positions[-1] < last:
        positions.append(next(subscription).commit_position)
    return positions
