// Checks of persistent subscriptions.
"use strict";

const { assert, check, following, rejects, until } = require("./harness");

const revisions = (events) => events.map(({ event }) => Number(event.revision));

/** A group from the start of a new stream that holds `count` events. */
async function made(c, count = 0, changes = {}) {
  const [stream, group] = [c.name("source"), c.name("group")];
  if (count) await c.append(stream, c.events(count), c.library.NO_STREAM);
  await c.client.createPersistentSubscriptionToStream(stream, group, settings(c, changes));
  return { stream, group };
}

function settings(c, changes) {
  const { persistentSubscriptionToStreamSettingsFromDefaults: make, START } = c.library;
  return make({ startFrom: START, ...changes });
}

const info = (c, { stream, group }) => c.client.getPersistentSubscriptionToStreamInfo(stream, group);
const read = (c, { stream, group }) =>
  c.client.subscribeToPersistentSubscriptionToStream(stream, group);
const parked = async (c, at) => (await info(c, at)).stats.parkedMessageCount;

check("group-create", async (c) => {
  const at = await made(c, 0, { messageTimeout: 12_000, maxRetryCount: 7, extraStatistics: true });
  const { eventSource, groupName, settings: got } = await info(c, at);
  assert.deepEqual([eventSource, groupName, got.startFrom], [at.stream, at.group, c.library.START]);
  assert.deepEqual([got.messageTimeout, got.maxRetryCount, got.extraStatistics], [12_000, 7, true]);
  const again = c.client.createPersistentSubscriptionToStream(at.stream, at.group, settings(c));
  await rejects(again, c.library.ErrorType.PERSISTENT_SUBSCRIPTION_EXISTS);
});

check("group-update", async (c) => {
  const { stream, group } = await made(c);
  const changed = settings(c, { maxRetryCount: 3 });
  await c.client.updatePersistentSubscriptionToStream(stream, group, changed);
  assert.equal((await info(c, { stream, group })).settings.maxRetryCount, 3);
  const missing = c.client.updatePersistentSubscriptionToStream(stream, "no", changed);
  await rejects(missing, c.library.ErrorType.PERSISTENT_SUBSCRIPTION_DOES_NOT_EXIST);
});

check("group-delete", async (c) => {
  const at = await made(c);
  await c.client.deletePersistentSubscriptionToStream(at.stream, at.group);
  await rejects(info(c, at), c.library.ErrorType.PERSISTENT_SUBSCRIPTION_DOES_NOT_EXIST);
});

check("group-list", async (c) => {
  const { stream, group } = await made(c);
  const all = await c.client.listAllPersistentSubscriptions();
  assert(all.some(({ groupName }) => groupName === group));
  const [own] = await c.client.listPersistentSubscriptionsToStream(stream);
  assert.equal(own.groupName, group);
  const none = c.client.listPersistentSubscriptionsToStream(c.name("none"));
  await rejects(none, c.library.ErrorType.PERSISTENT_SUBSCRIPTION_DOES_NOT_EXIST);
});

check("group-missing", async (c) => {
  const at = { stream: c.name("source"), group: c.name("group") };
  await following(read(c, at), async (items) => {
    const type = c.library.ErrorType.PERSISTENT_SUBSCRIPTION_DOES_NOT_EXIST;
    await assert.rejects(items.next(), { type });
  });
});

check("group-settings-refused", async (c) => {
  const [stream, group] = [c.name("source"), c.name("group")];
  const create = (changes) =>
    c.client.createPersistentSubscriptionToStream(stream, group, settings(c, changes));
  const { PERSISTENT_SUBSCRIPTION_FAILED } = c.library.ErrorType;
  const sizes = create({ readBatchSize: 500, historyBufferSize: 100 });
  await rejects(sizes, PERSISTENT_SUBSCRIPTION_FAILED);
});

check("group-ack", async (c) => {
  const at = await made(c, 5, { checkPointLowerBound: 1, checkPointAfter: 500 });
  await following(read(c, at), async (items, subscription) => {
    const events = await items.take(5);
    assert.deepEqual(revisions(events), [0, 1, 2, 3, 4]);
    assert(events.every(({ retryCount }) => retryCount === 0));
    for (const event of events) await subscription.ack(event);
    await until(async () => (await info(c, at)).stats.lastCheckpointedEventRevision === 4n);
  });
  await c.append(at.stream, c.event());
  await following(read(c, at), async (items) => {
    assert.deepEqual(revisions(await items.take(1)), [5]);
  });
});

check("group-from-revision", async (c) => {
  const at = { stream: await c.filled("source", 5), group: c.name("group") };
  const from = settings(c, { startFrom: 3n });
  await c.client.createPersistentSubscriptionToStream(at.stream, at.group, from);
  await following(read(c, at), async (items) => {
    assert.deepEqual(revisions(await items.take(2)), [3, 4]);
  });
});

check("group-from-end", async (c) => {
  const at = { stream: await c.filled("source", 5), group: c.name("group") };
  const end = settings(c, { startFrom: c.library.END });
  await c.client.createPersistentSubscriptionToStream(at.stream, at.group, end);
  await c.append(at.stream, c.event());
  await following(read(c, at), async (items) => {
    assert.deepEqual(revisions(await items.take(1)), [5]);
  });
});

check("group-nack-retry", async (c) => {
  await following(read(c, await made(c, 1)), async (items, subscription) => {
    await subscription.nack(c.library.RETRY, "again", await items.next());
    const again = await items.next();
    assert.deepEqual([again.event.revision, again.retryCount], [0n, 1]);
    await subscription.ack(again);
  });
});

check("group-nack-skip", async (c) => {
  const at = await made(c, 2);
  await following(read(c, at), async (items, subscription) => {
    const [first, second] = await items.take(2);
    await subscription.nack(c.library.SKIP, "not this one", first);
    await subscription.ack(second);
    await c.append(at.stream, c.event());
    assert.deepEqual(revisions(await items.take(1)), [2]);
    assert.equal(await parked(c, at), 0n);
  });
});

check("group-park-replay", async (c) => {
  const at = await made(c, 3);
  await following(read(c, at), async (items, subscription) => {
    const [first, ...others] = await items.take(3);
    await subscription.ack(first);
    await subscription.nack(c.library.PARK, "later", ...others);
    await until(async () => (await parked(c, at)) === 2n);
    const name = `$persistentsubscription-${at.stream}::${at.group}-parked`;
    assert.deepEqual(revisions(await c.read(name, { resolveLinkTos: true })), [1, 2]);
    await c.client.replayParkedMessagesToStream(at.stream, at.group);
    const again = await items.take(2);
    assert.deepEqual(revisions(again), [1, 2]);
    await subscription.ack(...again);
    await until(async () => (await parked(c, at)) === 0n);
  });
});

check("group-retries-park", async (c) => {
  const at = await made(c, 1, { maxRetryCount: 1 });
  await following(read(c, at), async (items, subscription) => {
    await subscription.nack(c.library.RETRY, "again", await items.next());
    await subscription.nack(c.library.RETRY, "again", await items.next());
    await until(async () => (await parked(c, at)) === 1n);
  });
});

check("group-timeout", async (c) => {
  await following(read(c, await made(c, 1, { messageTimeout: 1000 })), async (items) => {
    const [first, second] = await items.take(2);
    assert.deepEqual([first.event.id, second.retryCount], [second.event.id, 1]);
  });
});

check("group-max-consumers", async (c) => {
  const at = await made(c, 1, { maxSubscriberCount: 1 });
  await following(read(c, at), async (items) => {
    await items.next();
    await following(read(c, at), async (more) => {
      await assert.rejects(more.next(), { type: c.library.ErrorType.MAXIMUM_SUBSCRIBERS_REACHED });
    });
  });
});

check("group-connections", async (c) => {
  const at = await made(c, 1, { extraStatistics: true });
  await following(read(c, at), async (items, subscription) => {
    const event = await items.next();
    const [connection] = (await info(c, at)).connections;
    // A server that asks nobody who they are takes everybody for its administrator.
    assert((c.tls ? ["admin"] : ["admin", "anonymous", "system"]).includes(connection.username));
    assert.equal(connection.inFlightMessages, 1);
    await subscription.ack(event);
    await until(async () => {
      const [{ extraStatistics }] = (await info(c, at)).connections;
      return extraStatistics?.get("quintile 3") !== undefined;
    });
  });
});

check("group-deleted-under-consumer", async (c) => {
  const at = await made(c, 1);
  await following(read(c, at), async (items) => {
    await items.next();
    await c.client.deletePersistentSubscriptionToStream(at.stream, at.group);
    const type = c.library.ErrorType.PERSISTENT_SUBSCRIPTION_DROPPED;
    await assert.rejects(items.next(), { type });
  });
});

check("group-links", async (c) => {
  const [stream, links] = [await c.filled("target", 2), c.name("links")];
  for (const revision of [0, 1]) {
    const data = Buffer.from(`${revision}@${stream}`);
    await c.append(links, c.library.binaryEvent({ type: "$>", data }));
  }
  const at = { stream: links, group: c.name("group") };
  const resolving = settings(c, { resolveLinkTos: true });
  await c.client.createPersistentSubscriptionToStream(at.stream, at.group, resolving);
  await following(read(c, at), async (items, subscription) => {
    const events = await items.take(2);
    assert(events.every(({ event, link }) => event.streamId === stream && link.streamId === links));
    await subscription.ack(...events);
  });
});

check("group-category", async (c) => {
  const category = c.name("category").replace("-", "");
  await c.filled(category, 2);
  const at = { stream: `$ce-${category}`, group: c.name("group") };
  const resolving = settings(c, { resolveLinkTos: true });
  await c.client.createPersistentSubscriptionToStream(at.stream, at.group, resolving);
  await following(read(c, at), async (items, subscription) => {
    const events = await items.take(2);
    assert.deepEqual(events.map(({ link }) => link.revision), [0n, 1n]);
    await subscription.ack(...events);
    await c.filled(category, 1);
    assert.equal((await items.next()).link.revision, 2n);
  });
});

check("group-pinned", async (c) => {
  const at = await made(c, 8, { consumerStrategyName: c.library.PINNED });
  await following(read(c, at), async (items) => {
    assert.deepEqual(revisions(await items.take(8)), [...Array(8).keys()]);
  });
  assert.equal((await info(c, at)).settings.consumerStrategyName, "Pinned");
});

check("group-all", async (c) => {
  const [type, group] = [c.name("Type").replace("-", ""), c.name("group")];
  await c.filled("all", 2, type);
  const { persistentSubscriptionToAllSettingsFromDefaults: make, START } = c.library;
  const filter = c.library.eventTypeFilter({ regex: `^${type}$` });
  const from = make({ startFrom: START });
  await c.client.createPersistentSubscriptionToAll(group, from, { filter });
  const stats = async () => (await c.client.getPersistentSubscriptionToAllInfo(group)).stats;
  const subscription = c.client.subscribeToPersistentSubscriptionToAll(group);
  await following(subscription, async (items) => {
    const events = await items.take(2);
    assert(events.every(({ event }) => event.type === type));
    await subscription.ack(...events);
    await c.filled("other", 3);
    await c.filled("all", 1, type);
    await subscription.nack(c.library.PARK, "later", await items.next());
    await until(async () => (await stats()).parkedMessageCount === 1n);
    await c.client.replayParkedMessagesToAll(group);
    assert.equal((await items.next()).event.type, type);
  });
  const listed = await c.client.listPersistentSubscriptionsToAll();
  assert(listed.some(({ groupName }) => groupName === group));
  await c.client.updatePersistentSubscriptionToAll(group, make({ maxRetryCount: 3 }));
  await c.client.deletePersistentSubscriptionToAll(group);
});

check("group-all-from-position", async (c) => {
  const [stream, group] = [c.name("all"), c.name("group")];
  const { position } = await c.append(stream, c.event());
  const { persistentSubscriptionToAllSettingsFromDefaults: make } = c.library;
  await c.client.createPersistentSubscriptionToAll(group, make({ startFrom: position }));
  const subscription = c.client.subscribeToPersistentSubscriptionToAll(group);
  await following(subscription, async (items) => {
    assert.equal((await items.next()).event.streamId, stream);
  });
});

check("group-restart", async (c) => {
  await c.client.restartPersistentSubscriptionSubsystem();
});
