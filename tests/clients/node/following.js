// Checks of catch-up subscriptions.
"use strict";

const { assert, check, following, until } = require("./harness");

const revisions = (events) => events.map(({ event }) => Number(event.revision));

check("subscribe-stream", async (c) => {
  const stream = await c.filled("follow", 3);
  await following(c.client.subscribeToStream(stream), async (items) => {
    assert.deepEqual(revisions(await items.take(3)), [0, 1, 2]);
    await c.append(stream, c.events(2), 2n);
    assert.deepEqual(revisions(await items.take(2)), [3, 4]);
  });
});

check("subscribe-stream-from", async (c) => {
  const stream = await c.filled("follow", 5);
  const from = { fromRevision: 2n };
  await following(c.client.subscribeToStream(stream, from), async (items) => {
    assert.deepEqual(revisions(await items.take(2)), [3, 4]);
  });
  const end = c.client.subscribeToStream(stream, { fromRevision: c.library.END });
  await following(end, async (items) => {
    await confirmed(end);
    await c.append(stream, c.event(), 4n);
    assert.deepEqual(revisions(await items.take(1)), [5]);
  });
});

/** Waits until the server said that it has subscribed. */
const confirmed = (subscription) => until(() => subscription.id);

check("subscribe-stream-missing", async (c) => {
  const stream = c.name("later");
  const subscription = c.client.subscribeToStream(stream);
  await following(subscription, async (items) => {
    await confirmed(subscription);
    await c.append(stream, c.event(), c.library.NO_STREAM);
    assert.deepEqual(revisions(await items.take(1)), [0]);
  });
});

check("subscribe-stream-caught-up", async (c) => {
  const stream = await c.filled("follow", 3);
  const subscription = c.client.subscribeToStream(stream);
  const told = [];
  subscription.on("caughtUp", (info) => told.push(info ?? {}));
  await following(subscription, async (items) => {
    await items.take(3);
    await until(() => told.length === 1);
    if (c.isKurrent) assert.equal(told[0].revision, 2n);
  });
});

check("subscribe-stream-tombstoned", async (c) => {
  const stream = await c.filled("follow", 1);
  await c.client.tombstoneStream(stream);
  await following(c.client.subscribeToStream(stream), async (items) => {
    await assert.rejects(items.next(), { type: c.library.ErrorType.STREAM_DELETED });
  });
});

check("subscribe-stream-links", async (c) => {
  const [stream, links] = [await c.filled("target", 2), c.name("links")];
  const subscription = c.client.subscribeToStream(links, { resolveLinkTos: true });
  await following(subscription, async (items) => {
    const data = Buffer.from(`1@${stream}`);
    await c.append(links, c.library.binaryEvent({ type: "$>", data }));
    const { event, link } = await items.next();
    assert.deepEqual([event.streamId, event.revision, link.streamId], [stream, 1n, links]);
  });
});

check("subscribe-all", async (c) => {
  const stream = c.name("all");
  const { position: fromPosition } = await c.append(stream, c.event());
  await c.append(stream, c.events(2));
  await following(c.client.subscribeToAll({ fromPosition }), async (items) => {
    const own = await items.take(2);
    assert.deepEqual(own.map(({ event }) => event.streamId), [stream, stream]);
    assert.deepEqual(revisions(own), [1, 2]);
    await c.append(stream, c.event());
    assert.deepEqual(revisions(await items.take(1)), [3]);
  });
});

check("subscribe-all-end", async (c) => {
  const subscription = c.client.subscribeToAll({ fromPosition: c.library.END });
  const told = [];
  subscription.on("caughtUp", (info) => told.push(info ?? {}));
  await following(subscription, async (items) => {
    await until(() => told.length > 0);
    const stream = await c.filled("end", 1);
    const { event } = await items.next();
    assert.equal(event.streamId, stream);
    if (c.isKurrent) assert(told[0].position, "caught up nowhere");
  });
});

check("subscribe-all-filter", async (c) => {
  const type = c.name("Type").replace("-", "");
  await c.filled("filter", 2, type);
  const filter = c.library.eventTypeFilter({ regex: `^${type}$` });
  await following(c.client.subscribeToAll({ filter }), async (items) => {
    assert.deepEqual(revisions(await items.take(2)), [0, 1]);
    await c.filled("other", 3);
    await c.filled("filter", 1, type);
    assert.equal((await items.next()).event.type, type);
  });
});

check("subscribe-all-filter-stream", async (c) => {
  const prefix = c.name("prefix");
  await c.filled(prefix, 2);
  const filter = c.library.streamNameFilter({ prefixes: [prefix] });
  await following(c.client.subscribeToAll({ filter }), async (items) => {
    assert((await items.take(2)).every(({ event }) => event.streamId.startsWith(prefix)));
  });
});

check("subscribe-all-checkpoints", async (c) => {
  const type = c.name("Type").replace("-", "");
  const stream = c.name("many");
  const { position: start } = await c.append(stream, c.event("Before"));
  const { position: last } = await c.append(stream, c.events(384, type));
  const positions = [];
  const filter = c.library.eventTypeFilter({
    prefixes: [type],
    checkpointInterval: 2,
    checkpointReached: (_, position) => positions.push(position.commit),
  });
  const options = { fromPosition: start, filter };
  await following(c.client.subscribeToAll(options), async (items) => {
    await items.take(384);
    await until(() => positions.at(-1) >= last.commit);
    // One for each 64 records, and one behind the last.
    assert([6, 7].includes(positions.length), `${positions.length} checkpoints`);
    assert(positions.every((position, n) => n === 0 || positions[n - 1] < position));
  });
});
