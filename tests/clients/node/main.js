// Runs the checks of one Node client against one server; results are lines of JSON.
//
// main.js --package @kurrent/kurrentdb-client --port 2113 [--ca FILE] [--only PREFIX] --out FILE
//
// NODE_PATH names the folder that the client is installed in.
"use strict";

const { appendFileSync, readFileSync } = require("node:fs");
const path = require("node:path");
const { parseArgs } = require("node:util");

const { Context, runAll } = require("./harness");

const text = { type: "string" };
const { values: given } = parseArgs({
  options: { package: text, host: text, port: text, ca: text, only: text, out: text },
});

for (const file of ["streams", "following", "groups", "access"]) require(`./${file}`);

async function main() {
  const library = require(given.package);
  const manifest = path.join(process.env.NODE_PATH, given.package, "package.json");
  const { version } = JSON.parse(readFileSync(manifest, "utf8"));
  const context = new Context({
    name: given.package,
    library,
    host: given.host ?? "localhost",
    port: Number(given.port),
    caFile: given.ca,
  });
  const write = (line) => appendFileSync(given.out, `${line}\n`);
  await runAll(context, `${given.package} ${version}`, given.only, write);
}

// What a check leaves behind, such as a subscription that failed, must not end the others.
process.on("unhandledRejection", (error) => console.error(`left behind: ${error.message}`));
process.on("uncaughtException", (error) => console.error(`left behind: ${error.message}`));

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
