// ioredis through one node of a cluster: plain and cluster mode.
//
// Arguments: the RESP port to connect to, and the RESP port of another node of the same cluster.
// The environment's CLIENT_MODULES is the directory that ioredis is installed in.
// Prints one line per check; the exit code is non-zero when one fails.

import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

const Redis = createRequire(`${process.env.CLIENT_MODULES}/`)("ioredis");
const HOST = "127.0.0.1";
const PUBSUB_MS_MAX = 5000;
const [through, beside] = process.argv.slice(2).map(Number);

function check(name, holds, seen) {
  console.log(`${holds ? "ok" : "FAIL"} ${name}${holds ? "" : `: ${JSON.stringify(seen)}`}`);
  if (!holds) process.exit(1);
}

const same = (left, right) => JSON.stringify(left) === JSON.stringify(right);

async function message(subscriber, event, publish) {
  const arrived = new Promise((resolve) => subscriber.once(event, (...parts) => resolve(parts.at(-1))));
  await publish();
  return Promise.race([arrived, sleep(PUBSUB_MS_MAX, "nothing in time")]);
}

async function publishes(subscriber, publisher, channel, mode) {
  await subscriber.subscribe(channel);
  await subscriber.psubscribe(`${channel}:*`);
  const plain = await message(subscriber, "message", () => publisher.publish(channel, "hello"));
  check(`${mode}: message from another node`, plain === "hello", plain);
  const pattern = await message(subscriber, "pmessage", () => publisher.publish(`${channel}:x`, "again"));
  check(`${mode}: pattern message from another node`, pattern === "again", pattern);
}

async function transactions(client, base, mode) {
  const [first, second] = [`{${base}}:first`, `{${base}}:second`];
  await client.set(first, 1);
  const results = await client.multi().incr(first).set(second, "two").get(second).exec();
  check(`${mode}: MULTI`, same(results, [[null, 2], [null, "OK"], [null, "two"]]), results);
}

// WATCH belongs to a connection, so it is checked on a plain client only.
async function watches(client, other, base, mode) {
  const key = `{${base}}:watched`;
  await client.set(key, 1);
  await client.watch(key);
  await other.set(key, 2);
  const results = await client.multi().set(key, 3).exec();
  check(`${mode}: WATCH sees a write through another node`, results === null, results);
  check(`${mode}: the conflicting write stands`, (await client.get(key)) === "2");
}

async function pipelines(client, base, mode) {
  // A cluster client's pipeline keeps to the keys of one node: one hash tag.
  const keys = Array.from({ length: 300 }, (_, index) => `{${base}}:${index}`);
  const pipeline = client.pipeline();
  keys.forEach((key, index) => pipeline.set(key, index));
  keys.forEach((key) => pipeline.get(key));
  const results = await pipeline.exec();
  const expected = [...keys.map(() => [null, "OK"]), ...keys.map((_, index) => [null, String(index)])];
  check(`${mode}: pipeline`, same(results, expected), results?.slice(0, 3));
}

async function autopipelines(client, base, mode) {
  const keys = Array.from({ length: 2000 }, (_, index) => `${base}:auto:${index}`);
  await Promise.all(keys.map((key, index) => client.set(key, index)));
  const values = await Promise.all(keys.map((key) => client.get(key)));
  check(`${mode}: 2,000 concurrent SETs and GETs`, same(values, keys.map((_, index) => String(index))));
}

async function plain() {
  const mode = "plain";
  const base = `ioredis:plain:${through}`;
  const client = new Redis(through, HOST, { enableAutoPipelining: true });
  const subscriber = new Redis(through, HOST);
  const other = new Redis(beside, HOST);
  check(`${mode}: PING`, (await client.ping()) === "PONG");
  await pipelines(client, base, mode);
  await autopipelines(client, base, mode);
  const binary = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
  await client.set(`${base}:binary`, binary, "EX", 60);
  check(`${mode}: binary values`, binary.equals(await other.getBuffer(`${base}:binary`)));
  await publishes(subscriber, other, `${base}:channel`, mode);
  await transactions(client, base, mode);
  await watches(new Redis(through, HOST), other, base, mode);
}

async function cluster() {
  const mode = "cluster";
  const base = `ioredis:cluster:${through}`;
  const client = new Redis.Cluster([{ host: HOST, port: through }], { enableAutoPipelining: true });
  const subscriber = new Redis.Cluster([{ host: HOST, port: through }]);
  const other = new Redis(beside, HOST);
  await client.set(`${base}:first`, "x");
  check(`${mode}: finds all nodes`, client.nodes("master").length === 3, client.nodes("master").length);
  await pipelines(client, base, mode);
  await autopipelines(client, base, mode);
  check(`${mode}: values through a plain node`, (await other.get(`${base}:auto:7`)) === "7");
  await publishes(subscriber, other, `${base}:channel`, mode);
  await transactions(client, base, mode);
}

await plain();
await cluster();
process.exit(0);
