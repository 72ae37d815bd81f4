// Checks of appending to streams and of reading them.
"use strict";

const { Absent, assert, check, collect, rejects, until } = require("./harness");

const revisions = (events) => events.map(({ event }) => Number(event.revision));

check("append-any", async (c) => {
  const stream = c.name("any");
  const first = await c.append(stream, c.event());
  const second = await c.append(stream, c.event());
  assert(second.success && second.position.commit > first.position.commit);
  assert.deepEqual(revisions(await c.read(stream)), [0, 1]);
});

check("append-no-stream", async (c) => {
  const stream = c.name("no");
  const result = await c.append(stream, c.event(), c.library.NO_STREAM);
  assert.equal(result.nextExpectedRevision, 0n);
  const [{ event }] = await c.read(stream);
  assert.equal(event.streamId, stream);
});

check("append-revision", async (c) => {
  const stream = await c.filled("at", 2);
  assert.equal((await c.append(stream, c.event(), 1n)).nextExpectedRevision, 2n);
});

check("append-exists", async (c) => {
  const stream = await c.filled("exists", 1);
  const result = await c.append(stream, c.event(), c.library.STREAM_EXISTS);
  assert.equal(result.nextExpectedRevision, 1n);
});

const conflict = async (c, stream, state) => {
  const { WRONG_EXPECTED_VERSION } = c.library.ErrorType;
  return rejects(c.append(stream, c.event(), state), WRONG_EXPECTED_VERSION);
};

const actual = (error) => error.actualState ?? error.actualVersion;
const expectedOf = (error) => error.expectedState ?? error.expectedVersion;

check("append-no-stream-conflict", async (c) => {
  const error = await conflict(c, await c.filled("no", 3), c.library.NO_STREAM);
  assert.equal(actual(error), 2n);
});

check("append-revision-conflict", async (c) => {
  const stream = await c.filled("at", 3);
  const error = await conflict(c, stream, 1n);
  assert.deepEqual([actual(error), expectedOf(error)], [2n, 1n]);
  await conflict(c, stream, 7n);
  const quiet = { credentials: c.tls ? { username: "admin", password: "changeit" } : undefined };
  const single = c.append(stream, c.event(), 1n, c.client, quiet);
  await rejects(single, c.library.ErrorType.WRONG_EXPECTED_VERSION);
});

check("append-exists-conflict", async (c) => {
  await conflict(c, c.name("exists"), c.library.STREAM_EXISTS);
});

check("append-again", async (c) => {
  const [stream, events] = [c.name("again"), c.events(3)];
  const first = await c.append(stream, events, c.library.NO_STREAM);
  assert.deepEqual(await c.append(stream, events, c.library.NO_STREAM), first);
  assert.deepEqual(await c.append(stream, events), first);
  assert.deepEqual(revisions(await c.read(stream)), [0, 1, 2]);
});

check("append-batch", async (c) => {
  const [stream, events] = [c.name("batch"), c.events(500)];
  const result = await c.append(stream, events, c.library.NO_STREAM, c.client, {
    batchAppendSize: 4096, // several messages of one append
  });
  assert.equal(result.nextExpectedRevision, 499n);
  const stored = await c.read(stream);
  assert.deepEqual(stored.map(({ event }) => event.id), events.map(({ id }) => id));
  const many = [...Array(50).keys()].map(() => c.append(c.name("at-once"), c.event()));
  assert((await Promise.all(many)).every(({ success }) => success));
});

check("append-large", async (c) => {
  const [stream, data] = [c.name("large"), Buffer.alloc(4 * 1024 * 1024, 7)];
  await c.append(stream, c.library.binaryEvent({ type: "Large", data }));
  const [{ event }] = await c.read(stream);
  assert(Buffer.from(event.data).equals(data) && event.isJson === false);
});

check("append-fields", async (c) => {
  const [stream, type] = [c.name("fields"), "Etwas-Größeres $ <x>"];
  const event = c.event(type, { ü: "€" }, { metadata: { by: "me" } });
  await c.append(stream, event);
  const [{ event: stored }] = await c.read(stream);
  const fields = [stored.id, stored.type, stored.data, stored.metadata, stored.isJson];
  assert.deepEqual(fields, [event.id, type, { ü: "€" }, { by: "me" }, true]);
  assert(Math.abs(stored.created - Date.now()) < 60_000, stored.created);
});

check("append-streams", async (c) => {
  if (!c.client.multiStreamAppend) throw new Absent("appends to one stream at a time");
  const [one, two, other] = [c.name("one"), c.name("two"), c.name("other")];
  const { NO_STREAM, ANY, ErrorType } = c.library;
  const request = (streamName, count, expectedState) => ({
    streamName,
    events: c.events(count).map((event) => ({ ...event, metadata: { by: "me" } })),
    expectedState,
  });
  const result = await c.client.multiStreamAppend([request(one, 2, NO_STREAM), request(two, 1, ANY)]);
  assert.deepEqual(result.responses.map((each) => [each.streamName, each.revision]), [
    [one, 1n],
    [two, 0n],
  ]);
  const [{ event }] = await c.read(one);
  assert.equal(event.metadata["$schema.name"], "Happened");
  const wrong = c.client.multiStreamAppend([request(other, 1, ANY), request(one, 1, 7n)]);
  await rejects(wrong, ErrorType.WRONG_EXPECTED_VERSION);
  await rejects(c.read(other), ErrorType.STREAM_NOT_FOUND);
  await c.client.tombstoneStream(two);
  const gone = c.client.multiStreamAppend([request(two, 1, ANY)]);
  await rejects(gone, ErrorType.STREAM_TOMBSTONED);
});

check("append-records", async (c) => {
  if (!c.client.appendRecords) throw new Absent("appends to one stream at a time");
  const [looked, one, two] = [await c.filled("looked", 2), c.name("one"), c.name("two")];
  const { NO_STREAM, STREAM_STATE, ErrorType } = c.library;
  const record = (streamName) => ({ streamName, record: c.event() });
  const expect = (streamName, expectedState) => ({ type: STREAM_STATE, streamName, expectedState });
  const result = await c.client.appendRecords(
    [record(one), record(two), record(one)],
    [expect(looked, 1n), expect(one, NO_STREAM)],
  );
  const got = Object.fromEntries(result.responses.map((each) => [each.streamName, each.revision]));
  assert.deepEqual(got, { [one]: 1n, [two]: 0n });
  const wrong = [expect(looked, 0n), expect(one, NO_STREAM)];
  const error = await rejects(
    c.client.appendRecords([record(two)], wrong),
    ErrorType.APPEND_CONSISTENCY_VIOLATION,
  );
  assert.equal(error.violations.length, 2);
});

check("read-stream", async (c) => {
  const stream = await c.filled("read", 10);
  assert.deepEqual(revisions(await c.read(stream)), [...Array(10).keys()]);
  const some = await c.read(stream, { fromRevision: 4n, maxCount: 3 });
  assert.deepEqual(revisions(some), [4, 5, 6]);
  assert.deepEqual(await c.read(stream, { fromRevision: 10n }), []);
});

check("read-stream-backwards", async (c) => {
  const stream = await c.filled("read", 10);
  const back = { direction: c.library.BACKWARDS, fromRevision: c.library.END };
  assert.deepEqual(revisions(await c.read(stream, back)), [...Array(10).keys()].reverse());
  const some = await c.read(stream, { ...back, fromRevision: 4n, maxCount: 2 });
  assert.deepEqual(revisions(some), [4, 3]);
});

check("read-missing", async (c) => {
  const stream = c.name("missing");
  const error = await rejects(c.read(stream), c.library.ErrorType.STREAM_NOT_FOUND);
  assert.equal(error.streamName, stream);
});

check("read-all", async (c) => {
  const stream = c.name("all");
  const { position: fromPosition } = await c.append(stream, c.event());
  await c.append(stream, c.events(4));
  const all = await collect(c.client.readAll({ fromPosition, maxCount: 100 }));
  const own = all.filter(({ event }) => event?.streamId === stream);
  assert.deepEqual(revisions(own), [0, 1, 2, 3, 4]);
  assert.deepEqual(own[0].event.position, fromPosition);
});

check("read-all-backwards", async (c) => {
  await c.filled("all", 5);
  const { BACKWARDS, END } = c.library;
  const options = { direction: BACKWARDS, fromPosition: END, maxCount: 5 };
  const positions = (await collect(c.client.readAll(options))).map(({ event }) => event.position);
  assert.equal(positions.length, 5);
  assert(positions.every(({ commit }, n) => n === 0 || commit < positions[n - 1].commit));
});

check("read-all-filter-type", async (c) => {
  if (!c.isKurrent) throw new Absent("filters no reads");
  const type = c.name("Type").replace("-", "");
  await c.filled("filter", 3, type);
  await c.filled("filter", 2, `${type}More`);
  const filter = c.library.eventTypeFilter({ prefixes: [type] });
  assert.equal((await collect(c.client.readAll({ filter }))).length, 5);
  const regex = c.library.eventTypeFilter({ regex: `^${type}$` });
  assert.equal((await collect(c.client.readAll({ filter: regex }))).length, 3);
});

check("read-all-filter-stream", async (c) => {
  if (!c.isKurrent) throw new Absent("filters no reads");
  const prefix = c.name("prefix");
  await c.filled(`${prefix}a`, 3);
  await c.filled(`${prefix}b`, 2);
  const filter = c.library.streamNameFilter({ prefixes: [prefix] });
  assert.equal((await collect(c.client.readAll({ filter }))).length, 5);
  const regex = c.library.streamNameFilter({ regex: `^${prefix}a` });
  assert.equal((await collect(c.client.readAll({ filter: regex }))).length, 3);
});

const links = async (c, stream) =>
  c.read(stream, { resolveLinkTos: true }).catch((error) => {
    if (error.type === c.library.ErrorType.STREAM_NOT_FOUND) return [];
    throw error;
  });

check("read-links", async (c) => {
  const [stream, name] = [await c.filled("target", 2), c.name("links")];
  const data = Buffer.from(`1@${stream}`);
  await c.append(name, c.library.binaryEvent({ type: "$>", data }));
  const [plain] = await c.read(name);
  assert.equal(plain.event.type, "$>");
  const [resolved] = await c.read(name, { resolveLinkTos: true });
  assert.deepEqual([resolved.event.streamId, resolved.event.revision], [stream, 1n]);
  assert.deepEqual([resolved.link.streamId, resolved.link.revision], [name, 0n]);
});

check("read-category", async (c) => {
  const category = c.name("category").replace("-", "");
  await c.filled(category, 2);
  await c.filled(category, 2);
  const events = await until(async () => {
    const found = await links(c, `$ce-${category}`);
    return found.length === 4 && found;
  });
  assert.deepEqual(events.map(({ link }) => Number(link.revision)), [0, 1, 2, 3]);
});

check("read-event-type", async (c) => {
  const type = c.name("Kind").replace("-", "");
  await c.filled("one", 2, type);
  await c.filled("two", 2, type);
  const events = await until(async () => {
    const found = await links(c, `$et-${type}`);
    return found.length === 4 && found;
  });
  assert(events.every(({ event }) => event.type === type));
});

check("metadata", async (c) => {
  const stream = await c.filled("meta", 3);
  const none = await c.client.getStreamMetadata(stream);
  assert.equal(none.metadata, undefined);
  await c.client.setStreamMetadata(stream, { foo: "bar", maxCount: 2 });
  const { metadata, metastreamRevision } = await c.client.getStreamMetadata(stream);
  assert.deepEqual(metadata, { foo: "bar", maxCount: 2 });
  assert(metastreamRevision > 0n); // the clients give this name to its position
  assert.deepEqual(revisions(await c.read(stream)), [1, 2]);
  const seventh = { ...c.expected(7n), expectedRevision: 7n };
  const again = c.client.setStreamMetadata(stream, {}, seventh);
  await rejects(again, c.library.ErrorType.WRONG_EXPECTED_VERSION);
});

check("delete", async (c) => {
  const stream = await c.filled("delete", 3);
  const { position } = await c.client.deleteStream(stream, { expectedRevision: 2n });
  assert(position.commit > 0n);
  await rejects(c.read(stream), c.library.ErrorType.STREAM_NOT_FOUND);
  await c.append(stream, c.event(), c.library.NO_STREAM);
  assert.deepEqual(revisions(await c.read(stream)), [3]);
});

check("delete-conflict", async (c) => {
  const stream = await c.filled("delete", 3);
  const { WRONG_EXPECTED_VERSION } = c.library.ErrorType;
  const wrong = c.client.deleteStream(stream, { expectedRevision: 1n });
  await rejects(wrong, WRONG_EXPECTED_VERSION);
  const missing = c.client.deleteStream(c.name("no"), { expectedRevision: c.library.ANY });
  await rejects(missing, WRONG_EXPECTED_VERSION);
});

check("tombstone", async (c) => {
  const stream = await c.filled("tombstone", 3);
  const { STREAM_DELETED, WRONG_EXPECTED_VERSION } = c.library.ErrorType;
  const wrong = c.client.tombstoneStream(stream, { expectedRevision: 1n });
  await rejects(wrong, WRONG_EXPECTED_VERSION);
  await c.client.tombstoneStream(stream, { expectedRevision: 2n });
  const error = await rejects(c.read(stream), STREAM_DELETED);
  assert.equal(error.streamName, stream);
  await rejects(c.append(stream, c.event()), STREAM_DELETED);
  await rejects(c.client.deleteStream(stream), STREAM_DELETED);
});

check("append-unread-id", async (c) => {
  const [one, two, event] = [c.name("one"), c.name("two"), c.event()];
  await c.append(one, event);
  await c.append(two, event);
  assert.deepEqual(revisions(await c.read(two)), [0]);
});
