"""Checks of users, rights, and the ways to reach a server."""

from harness import append, check, equal, raises, take, Absent

# Made by the runner on the server with users: nobody's administrator.
USER, PASSWORD = "alice", "wonderland"
UNKNOWN = ("UnauthenticatedError", "AccessDeniedError", "UnknownError", "EventStoreDBClientException")


def refused(c, call, *arguments, **named):
    """Expects that access is denied. The older client has a class for that, but uses it only for
    batches."""
    older = ("GrpcError",) if c.package == "esdbclient" else ()
    error = raises(c.error("AccessDeniedError", *older), call, *arguments, **named)
    assert isinstance(error, c.error("AccessDeniedError")) or "Access Denied" in str(error), error


@check("wrong-password", tls_only=True)
def wrong_password(c):
    client = c.connect("admin", "not-it")
    error = raises(c.error(*UNKNOWN), client.get_stream, c.name("any"))
    assert "nauthenticated" in f"{type(error).__name__} {error}", error


@check("unknown-user", tls_only=True)
def unknown_user(c):
    client = c.connect("nobody", "changeit")
    error = raises(c.error(*UNKNOWN), client.get_stream, c.name("any"))
    assert "nauthenticated" in f"{type(error).__name__} {error}", error


@check("denied-read", tls_only=True)
def denied_read(c):
    client, stream = c.connect(USER, PASSWORD), c.filled("acl", 1)
    equal(len(client.get_stream(stream)), 1)
    c.client.set_stream_metadata(stream, metadata={"$acl": {"$r": "$admins"}})
    refused(c, client.get_stream, stream)
    equal(len(c.client.get_stream(stream)), 1)

    def follow():
        with client.subscribe_to_stream(stream, timeout=10.0) as subscription:
            return next(subscription)

    refused(c, follow)
    c.client.set_stream_metadata(stream, metadata={"$acl": {"$r": [USER]}})
    equal(len(client.get_stream(stream)), 1)


@check("denied-write", tls_only=True)
def denied_write(c):
    client, stream = c.connect(USER, PASSWORD), c.filled("acl", 1)
    acl = {"$w": "$admins", "$d": "$admins", "$mw": "$admins"}
    c.client.set_stream_metadata(stream, metadata={"$acl": acl})
    state = c.library.StreamState.ANY
    write = client.append_to_stream
    refused(c, write, stream, current_version=state, events=c.event())
    refused(c, write, stream, current_version=state, events=c.events(2))
    refused(c, client.delete_stream, stream, current_version=state)
    refused(c, client.tombstone_stream, stream, current_version=state)
    refused(c, client.set_stream_metadata, stream, metadata={})
    equal(len(client.get_stream(stream)), 1)


@check("denied-all", tls_only=True)
def denied_all(c):
    client = c.connect(USER, PASSWORD)
    refused(c, lambda: list(client.read_all(limit=1)))
    refused(c, client.get_stream, "$users")


@check("denied-group", tls_only=True)
def denied_group(c):
    client = c.connect(USER, PASSWORD)
    create = client.create_subscription_to_stream
    refused(c, create, c.name("group"), c.name("source"))


@check("credentials-of-a-call", tls_only=True)
def credentials_of_a_call(c):
    stream = c.filled("acl", 1)
    c.client.set_stream_metadata(stream, metadata={"$acl": {"$r": "$admins"}})
    credentials = c.client.construct_call_credentials(USER, PASSWORD)
    refused(c, c.client.get_stream, stream, credentials=credentials)


@check("discover")
def discover(c):
    (member,) = c.client.read_gossip()
    equal((member.state, member.port), ("NODE_STATE_LEADER", c.port))
    hosts = f"{c.host}:{c.port},{c.host}:{c.port}"
    client = c.connect("admin", "changeit", hosts=hosts)
    equal(client.get_current_version(c.name("no")), c.library.StreamState.NO_STREAM)


@check("deadline")
def deadline(c):
    stream = c.name("quiet")
    with c.client.subscribe_to_stream(stream, timeout=0.5) as subscription:
        kind = c.error("DeadlineExceededError", "DeadlineExceeded")
        raises(kind, next, subscription)


@check("system-projections")
def system_projections(c):
    statistics = c.client.get_projection_statistics(name="$by_category")
    assert statistics.status.split("/")[0].startswith("Running"), statistics
    c.client.disable_projection(name="$by_category")
    c.client.enable_projection(name="$by_category")
    kind = c.error("NotFoundError", "NotFound")
    raises(kind, c.client.get_projection_statistics, name=c.name("no"))


@check("user-projections-refused")
def user_projections_refused(c):
    name = c.name("projection")
    try:
        c.client.create_projection(name=name, query="fromAll().when({})")
    except Exception as error:  # whatever class the client has for it: the text must say it
        assert "rojection" in str(error) or "nimplemented" in repr(error).lower(), error
        return
    raise AssertionError("a projection was made")


@check("asyncio")
def asyncio_client(c):
    import asyncio

    kind = {"kurrentdbclient": "AsyncKurrentDBClient", "esdbclient": "AsyncEventStoreDBClient"}
    make = getattr(c.library, kind[c.package], None)
    if make is None:
        raise Absent("has no asyncio client")
    state, stream = c.library.StreamState, c.name("async")

    async def session():
        client = make(c.uri("admin", "changeit"))
        await client.connect()
        await client.append_to_stream(stream, current_version=state.ANY, events=c.events(3))
        events = await client.get_stream(stream)
        equal([event.stream_position for event in events], [0, 1, 2])
        async with await client.subscribe_to_stream(stream, timeout=10.0) as subscription:
            async for event in subscription:
                if event.stream_position == 2:
                    break
        await client.close()

    asyncio.run(session())
