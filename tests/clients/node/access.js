// Checks of users, rights, and the ways to reach a server.
"use strict";

const { assert, check, collect, following, rejects } = require("./harness");

// Made by the runner on the server with users: nobody's administrator.
const [USER, PASSWORD] = ["alice", "wonderland"];
const tlsOnly = { tlsOnly: true };

async function refused(c, username, password) {
  const { ACCESS_DENIED } = c.library.ErrorType;
  const client = c.connect(username, password);
  await rejects(c.append(c.name("any"), c.event(), c.library.ANY, client), ACCESS_DENIED);
  await rejects(c.read(c.name("any"), {}, c.connect(username, password)), ACCESS_DENIED);
}

check("wrong-password", (c) => refused(c, "admin", "not-it"), tlsOnly);
check("unknown-user", (c) => refused(c, "nobody", "changeit"), tlsOnly);

check(
  "denied-read",
  async (c) => {
    const [client, stream] = [c.connect(USER, PASSWORD), await c.filled("acl", 1)];
    const { ACCESS_DENIED } = c.library.ErrorType;
    assert.equal((await c.read(stream, {}, client)).length, 1);
    await c.client.setStreamMetadata(stream, { acl: { readRoles: ["$admins"] } });
    await rejects(c.read(stream, {}, client), ACCESS_DENIED);
    await following(client.subscribeToStream(stream), async (items) => {
      await assert.rejects(items.next(), { type: ACCESS_DENIED });
    });
    await c.client.setStreamMetadata(stream, { acl: { readRoles: [USER] } });
    assert.equal((await c.read(stream, {}, client)).length, 1);
  },
  tlsOnly,
);

check(
  "denied-write",
  async (c) => {
    const [client, stream] = [c.connect(USER, PASSWORD), await c.filled("acl", 1)];
    const roles = ["$admins"];
    const acl = { writeRoles: roles, deleteRoles: roles, metaWriteRoles: roles };
    await c.client.setStreamMetadata(stream, { acl });
    const { ACCESS_DENIED } = c.library.ErrorType;
    const credentials = { username: USER, password: PASSWORD };
    await rejects(c.append(stream, c.event(), c.library.ANY, client), ACCESS_DENIED);
    const own = c.append(stream, c.event(), c.library.ANY, c.client, { credentials });
    await rejects(own, ACCESS_DENIED);
    await rejects(client.deleteStream(stream), ACCESS_DENIED);
    await rejects(client.tombstoneStream(stream), ACCESS_DENIED);
    await rejects(client.setStreamMetadata(stream, {}), ACCESS_DENIED);
  },
  tlsOnly,
);

check(
  "denied-all",
  async (c) => {
    const client = c.connect(USER, PASSWORD);
    const { ACCESS_DENIED } = c.library.ErrorType;
    await rejects(collect(client.readAll({ maxCount: 1 })), ACCESS_DENIED);
    await rejects(c.read("$users", {}, client), ACCESS_DENIED);
  },
  tlsOnly,
);

check(
  "denied-group",
  async (c) => {
    const client = c.connect(USER, PASSWORD);
    const settings = c.library.persistentSubscriptionToStreamSettingsFromDefaults();
    const create = client.createPersistentSubscriptionToStream(c.name("s"), c.name("g"), settings);
    await rejects(create, c.library.ErrorType.ACCESS_DENIED);
  },
  tlsOnly,
);

check(
  "credentials-of-a-call",
  async (c) => {
    const stream = await c.filled("acl", 1);
    await c.client.setStreamMetadata(stream, { acl: { readRoles: ["$admins"] } });
    const credentials = { username: USER, password: PASSWORD };
    await rejects(c.read(stream, { credentials }), c.library.ErrorType.ACCESS_DENIED);
  },
  tlsOnly,
);

check("discover", async (c) => {
  const hosts = `${c.host}:${c.port},${c.host}:${c.port}`;
  const client = c.connect("admin", "changeit", hosts);
  const stream = c.name("discovered");
  await c.append(stream, c.event(), c.library.NO_STREAM, client);
  assert.equal((await c.read(stream, {}, client)).length, 1);
});

check("deadline", async (c) => {
  const many = c.append(c.name("late"), c.events(100), c.library.ANY, c.client, { deadline: 1 });
  await rejects(many, c.library.ErrorType.DEADLINE_EXCEEDED);
});

check("system-projections", async (c) => {
  const { projectionStatus } = await c.client.getProjectionStatus("$by_category");
  assert.equal(projectionStatus, "Running");
  const names = (await c.client.listProjections()).map(({ name }) => name);
  const system = ["$streams", "$stream_by_category", "$by_category", "$by_event_type"];
  for (const name of [...system, "$by_correlation_id"]) assert(names.includes(name), name);
  await c.client.disableProjection("$by_category");
  await c.client.enableProjection("$by_category");
  await rejects(c.client.getProjectionStatus(c.name("no")), c.library.ErrorType.NOT_FOUND);
});

check("user-projections-refused", async (c) => {
  const create = c.client.createProjection(c.name("projection"), "fromAll().when({})");
  await assert.rejects(create, /rojection|UNIMPLEMENTED/i);
});
