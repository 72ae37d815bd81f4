// Checks of a client, each a function with a stable name, and how they are run and reported: the
// same three outcomes and the same lines of JSON as in ../python/harness.py.
"use strict";

const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");

const CHECK_MS = 40_000;
const checks = [];

/** The client has no such call. */
class Absent extends Error {}

function check(name, run, { tlsOnly = false } = {}) {
  assert(checks.every((other) => other.name !== name), name);
  checks.push({ name, run, tlsOnly });
}

/** What a check works with: the client's package and where the server is. */
class Context {
  constructor({ name, library, host, port, caFile }) {
    Object.assign(this, { packageName: name, library, host, port, caFile });
    this.isKurrent = name === "@kurrent/kurrentdb-client";
    this.made = [];
    this.client = this.connect("admin", "changeit");
  }

  get tls() {
    return this.caFile !== undefined;
  }

  uri(user, password, hosts = `${this.host}:${this.port}`) {
    return this.tls
      ? `esdb://${user}:${password}@${hosts}?tlsCAFile=${this.caFile}`
      : `esdb://${hosts}?tls=false`;
  }

  /** A client of its own, disposed of when all checks are done. */
  connect(user, password, hosts) {
    const kind = this.isKurrent ? this.library.KurrentDBClient : this.library.EventStoreDBClient;
    const client = kind.connectionString(this.uri(user, password, hosts));
    this.made.push(client);
    return client;
  }

  name(prefix) {
    return `${prefix}-${randomUUID().replaceAll("-", "")}`;
  }

  event(type = "Happened", data = { a: 1 }, more = {}) {
    return this.library.jsonEvent({ type, data, ...more });
  }

  events(count, type) {
    return Array.from({ length: count }, (_, n) => this.event(type, { n }));
  }

  /** The two clients name the expected version differently. */
  expected(state) {
    return this.isKurrent ? { streamState: state } : { expectedRevision: state };
  }

  /** The expectation of a delete or a change of metadata, which both name alike. */
  append(stream, events, state = this.library.ANY, client = this.client, more = {}) {
    return client.appendToStream(stream, events, { ...this.expected(state), ...more });
  }

  /** The name of a new stream that holds `count` events. */
  async filled(prefix, count, type) {
    const stream = this.name(prefix);
    await this.append(stream, this.events(count, type), this.library.NO_STREAM);
    return stream;
  }

  async read(stream, options = {}, client = this.client) {
    return collect(client.readStream(stream, options));
  }

  async dispose() {
    await Promise.all(this.made.map((client) => client.dispose()));
  }
}

/** All items. */
async function collect(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}

/** A readable's items one after another; the errors it emits come out of `next`. */
class Items {
  constructor(readable) {
    this.readable = readable;
    this.items = [];
    this.waiting = [];
    this.failure = undefined;
    readable.on("data", (item) => this.#put({ item }));
    readable.on("error", (error) => this.#put({ error }));
    readable.on("end", () => this.#put({ error: new Error("the subscription ended") }));
  }

  #put(result) {
    const waiting = this.waiting.shift();
    if (waiting) waiting(result);
    else this.items.push(result);
  }

  async next() {
    const ready = this.items.shift();
    const result = ready ?? (await new Promise((resolve) => this.waiting.push(resolve)));
    if (result.error) throw result.error;
    return result.item;
  }

  async take(count) {
    const taken = [];
    while (taken.length < count) taken.push(await this.next());
    return taken;
  }
}

/** Follows what a subscription delivers while `use` runs, and unsubscribes behind it. */
async function following(subscription, use) {
  const items = new Items(subscription);
  try {
    return await use(items, subscription);
  } finally {
    await subscription.unsubscribe();
  }
}

/** Expects a promise to be rejected with an error of one of these types, which it returns. */
async function rejects(promise, ...types) {
  let result;
  try {
    result = await promise;
  } catch (error) {
    if (types.includes(error.type)) return error;
    throw new Error(`expected ${types.join(" or ")}, got ${describe(error)}`);
  }
  throw new Error(`expected ${types.join(" or ")}, got ${JSON.stringify(result, bigints)}`);
}

/** Waits for a condition, whose value it returns. */
async function until(condition, ms = 15_000) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    assert(Date.now() < end, "the condition did not come true in time");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const bigints = (_, value) => (typeof value === "bigint" ? `${value}` : value);

function describe(error) {
  return `${error.type ?? error.name}: ${error.message}`.replace(/\s+/g, " ").slice(0, 400);
}

async function outcomeOf({ run, tlsOnly }, context) {
  if (tlsOnly && !context.tls) {
    return { outcome: "absent", detail: "sends no credentials without TLS" };
  }
  let timer;
  const late = new Promise((resolve) => {
    const result = { outcome: "differs", detail: `no end within ${CHECK_MS / 1000} s` };
    timer = setTimeout(resolve, CHECK_MS, result);
  });
  const ended = Promise.resolve()
    .then(() => run(context))
    .then(() => ({ outcome: "works" }))
    .catch((error) =>
      error instanceof Absent
        ? { outcome: "absent", detail: error.message }
        : { outcome: "differs", detail: describe(error) },
    );
  const result = await Promise.race([ended, late]);
  clearTimeout(timer);
  return result;
}

/** Runs every check, or those whose name begins so, and writes a line for each. */
async function runAll(context, client, only, write) {
  for (const one of checks) {
    if (only && !one.name.startsWith(only)) continue;
    const result = await outcomeOf(one, context);
    write(JSON.stringify({ client, tls: context.tls, call: one.name, ...result }));
    if (result.outcome === "differs") console.error(`${client} ${one.name}: ${result.detail}`);
  }
}

module.exports = { Absent, assert, check, collect, following, rejects, runAll, until, Context };
