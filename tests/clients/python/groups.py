"""Checks of persistent subscriptions."""

from harness import Absent, append, check, equal, raises, take, until

LIMIT = {"timeout": 30.0}
MISSING = ("NotFoundError", "NotFound")
EXISTS = ("AlreadyExistsError", "AlreadyExists")


def made(c, count=0, **settings):
    """A group from the start of a new stream that holds `count` events."""
    stream, group = c.name("source"), c.name("group")
    if count:
        append(c, stream, c.events(count), c.library.StreamState.NO_STREAM)
    c.client.create_subscription_to_stream(group, stream, **settings)
    return stream, group


def revisions(events):
    return [event.stream_position for event in events]


@check("group-create")
def group_create(c):
    stream, group = made(c, message_timeout=12.0, max_retry_count=7, checkpoint_after=3.0)
    info = c.client.get_subscription_info(group, stream)
    equal((info.event_source, info.group_name, info.start_from), (stream, group, "0"))
    equal((info.message_timeout, info.max_retry_count, info.checkpoint_after), (12.0, 7, 3.0))
    create = c.client.create_subscription_to_stream
    raises(c.error(*EXISTS), create, group, stream)


@check("group-update")
def group_update(c):
    stream, group = made(c)
    c.client.update_subscription_to_stream(group, stream, max_retry_count=3)
    equal(c.client.get_subscription_info(group, stream).max_retry_count, 3)
    kind = c.error(*MISSING)
    raises(kind, c.client.update_subscription_to_stream, "no", stream, max_retry_count=3)


@check("group-delete")
def group_delete(c):
    stream, group = made(c)
    c.client.delete_subscription(group, stream)
    raises(c.error(*MISSING), c.client.get_subscription_info, group, stream)
    raises(c.error(*MISSING), c.client.delete_subscription, group, stream)


@check("group-list")
def group_list(c):
    stream, group = made(c)
    assert group in [info.group_name for info in c.client.list_subscriptions()]
    (info,) = c.client.list_subscriptions_to_stream(stream)
    equal(info.group_name, group)
    # A stream without groups: one of the two clients takes the answer for an empty list.
    try:
        equal(list(c.client.list_subscriptions_to_stream(c.name("none"))), [])
    except c.error(*MISSING):
        pass


@check("group-missing")
def group_missing(c):
    read = c.client.read_subscription_to_stream
    raises(c.error(*MISSING), read, c.name("group"), c.name("source"), **LIMIT)


@check("group-settings-refused")
def group_settings_refused(c):
    stream, group = c.name("source"), c.name("group")
    create = c.client.create_subscription_to_stream
    kind = c.error("InternalError")
    raises(kind, create, group, stream, read_batch_size=500, history_buffer_size=100)
    raises(kind, create, group, stream, consumer_strategy="NoSuchStrategy")


@check("group-ack")
def group_ack(c):
    stream, group = made(c, 5, min_checkpoint_count=1, checkpoint_after=0.5)
    with c.client.read_subscription_to_stream(group, stream, **LIMIT) as subscription:
        events = take(subscription, 5)
        equal(revisions(events), [0, 1, 2, 3, 4])
        equal([event.retry_count for event in events], [0] * 5)
        append(c, stream, c.events(2), 4)
        events += take(subscription, 2)
        for event in events:
            subscription.ack(event)
        until(lambda: checkpoint(c, group, stream) == "6")
    append(c, stream, c.event(), 6)
    with c.client.read_subscription_to_stream(group, stream, **LIMIT) as subscription:
        equal(next(subscription).stream_position, 7)


def checkpoint(c, group, stream):
    return c.client.get_subscription_info(group, stream).last_checkpointed_event_position


@check("group-from-revision")
def group_from_revision(c):
    stream, group = c.filled("source", 5), c.name("group")
    c.client.create_subscription_to_stream(group, stream, stream_position=3)
    with c.client.read_subscription_to_stream(group, stream, **LIMIT) as subscription:
        equal(revisions(take(subscription, 2)), [3, 4])


@check("group-from-end")
def group_from_end(c):
    stream, group = c.filled("source", 5), c.name("group")
    c.client.create_subscription_to_stream(group, stream, from_end=True)
    with c.client.read_subscription_to_stream(group, stream, **LIMIT) as subscription:
        append(c, stream, c.event(), 4)
        equal(next(subscription).stream_position, 5)


@check("group-nack-retry")
def group_nack_retry(c):
    stream, group = made(c, 1)
    with c.client.read_subscription_to_stream(group, stream, **LIMIT) as subscription:
        subscription.nack(next(subscription), "retry")
        event = next(subscription)
        equal((event.stream_position, event.retry_count), (0, 1))
        subscription.ack(event)


@check("group-nack-skip")
def group_nack_skip(c):
    stream, group = made(c, 2)
    with c.client.read_subscription_to_stream(group, stream, **LIMIT) as subscription:
        first, second = take(subscription, 2)
        subscription.nack(first, "skip")
        subscription.ack(second)
        append(c, stream, c.event(), 1)
        equal(next(subscription).stream_position, 2)
        equal(c.client.get_subscription_info(group, stream).parked_message_count, 0)


@check("group-park-replay")
def group_park_replay(c):
    stream, group = made(c, 3)
    with c.client.read_subscription_to_stream(group, stream, **LIMIT) as subscription:
        events = take(subscription, 3)
        subscription.ack(events[0])
        subscription.nack(events[1], "park")
        subscription.nack(events[2], "park")
        until(lambda: parked(c, group, stream) == 2)
        name = f"$persistentsubscription-{stream}::{group}-parked"
        links = c.client.get_stream(name, resolve_links=True)
        equal(revisions(links), [1, 2])
        c.client.replay_parked_events(group, stream)
        again = take(subscription, 2)
        equal(revisions(again), [1, 2])
        for event in again:
            subscription.ack(event)
        until(lambda: parked(c, group, stream) == 0)


def parked(c, group, stream):
    return c.client.get_subscription_info(group, stream).parked_message_count


@check("group-retries-park")
def group_retries_park(c):
    stream, group = made(c, 1, max_retry_count=1)
    with c.client.read_subscription_to_stream(group, stream, **LIMIT) as subscription:
        for _ in range(2):
            subscription.nack(next(subscription), "retry")
        until(lambda: parked(c, group, stream) == 1)


@check("group-timeout")
def group_timeout(c):
    stream, group = made(c, 1, message_timeout=1.0)
    with c.client.read_subscription_to_stream(group, stream, **LIMIT) as subscription:
        first, second = take(subscription, 2)
        equal((first.id, second.id, second.retry_count), (first.id, first.id, 1))
        subscription.ack(second)


@check("group-max-consumers")
def group_max_consumers(c):
    stream, group = made(c, max_subscriber_count=1)
    read = c.client.read_subscription_to_stream
    with read(group, stream, **LIMIT):
        kind = c.error("MaximumSubscriptionsReachedError", "MaximumSubscriptionsReached")
        raises(kind, read, group, stream, **LIMIT)


@check("group-connections")
def group_connections(c):
    stream, group = made(c, 1)
    with c.client.read_subscription_to_stream(group, stream, **LIMIT) as subscription:
        next(subscription)
        info = c.client.get_subscription_info(group, stream)
        if not hasattr(info, "connections"):
            raise Absent("does not show connections")
        (connection,) = info.connections
        # A server that asks nobody who they are takes everybody for its administrator.
        assert connection.username in (["admin"] if c.tls else ["admin", "anonymous", "system"])
        equal(connection.in_flight_messages, 1)


@check("group-deleted-under-consumer")
def group_deleted_under_consumer(c):
    stream, group = made(c, 1)
    subscription = c.client.read_subscription_to_stream(group, stream, **LIMIT)
    next(subscription)
    c.client.delete_subscription(group, stream)
    kind = c.error("CancelledError", "CancelledByClient", "AbortedByServer", "GrpcError")
    try:
        next(subscription)
    except StopIteration:
        return
    except kind:
        return
    raise AssertionError("the consumer was not told")


@check("group-links")
def group_links(c):
    stream, links, group = c.filled("target", 2), c.name("links"), c.name("group")
    for revision in range(2):
        event = c.event("$>", f"{revision}@{stream}".encode())
        append(c, links, event, c.library.StreamState.ANY)
    c.client.create_subscription_to_stream(group, links, resolve_links=True)
    with c.client.read_subscription_to_stream(group, links, **LIMIT) as subscription:
        events = take(subscription, 2)
        equal([(e.stream_name, e.link.stream_name) for e in events], [(stream, links)] * 2)
        for event in events:
            subscription.ack(event)


@check("group-category")
def group_category(c):
    category, group = c.name("category").replace("-", ""), c.name("group")
    c.filled(category, 2)
    c.client.create_subscription_to_stream(group, f"$ce-{category}", resolve_links=True)
    read = c.client.read_subscription_to_stream
    with read(group, f"$ce-{category}", **LIMIT) as subscription:
        events = take(subscription, 2)
        equal([event.link.stream_position for event in events], [0, 1])
        for event in events:
            subscription.ack(event)
        c.filled(category, 1)
        equal(next(subscription).link.stream_position, 2)


@check("group-pinned")
def group_pinned(c):
    stream, group = made(c, 20, consumer_strategy="Pinned")
    with c.client.read_subscription_to_stream(group, stream, **LIMIT) as subscription:
        equal(revisions(take(subscription, 20)), list(range(20)))
    equal(c.client.get_subscription_info(group, stream).consumer_strategy, "Pinned")


@check("group-all")
def group_all(c):
    kind, group = c.name("Type").replace("-", ""), c.name("group")
    c.filled("all", 2, kind)
    c.client.create_subscription_to_all(group, filter_include=[kind])
    with c.client.read_subscription_to_all(group, **LIMIT) as subscription:
        events = take(subscription, 2)
        equal([event.type for event in events], [kind, kind])
        for event in events:
            subscription.ack(event)
        c.filled("other", 3)
        c.filled("all", 1, kind)
        subscription.nack(next(subscription), "park")
        until(lambda: parked(c, group, None) == 1)
        c.client.replay_parked_events(group)
        equal(next(subscription).type, kind)
    info = c.client.get_subscription_info(group)
    equal((info.event_source, info.group_name), ("$all", group))
    c.client.update_subscription_to_all(group, max_retry_count=3)
    c.client.delete_subscription(group)
    raises(c.error(*MISSING), c.client.get_subscription_info, group)


@check("group-all-from-position")
def group_all_from_position(c):
    stream, group = c.filled("all", 3), c.name("group")
    second = c.client.get_stream(stream)[1].commit_position
    c.client.create_subscription_to_all(group, commit_position=second)
    with c.client.read_subscription_to_all(group, **LIMIT) as subscription:
        first = next(subscription)
        equal((first.stream_name, first.stream_position), (stream, 1))
