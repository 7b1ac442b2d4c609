// Schedules a row, reads it with its age, requests a refresh and drops it:
//
//   npm install && ROWCACHE_REDIS_URL=redis://localhost:6379/0 npm start 42

import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";
import { RowCache } from "./rowcache.mjs";

const url = process.env.ROWCACHE_REDIS_URL ?? "redis://localhost:6379/0";
const rowId = process.argv[2] ?? "42";

const client = createClient({ url, RESP: 2, socket: { connectTimeout: 5000, reconnectStrategy: false } });
client.on("error", (error) => console.error(`Redis: ${error.message}`));
await client.connect();
const inv = new RowCache(client);

try {
  await inv.schedule(rowId, 60);
  console.log("cached", JSON.stringify(await until(() => inv.get(rowId), "the row is cached")));

  const { row, age } = await inv.getWithAge(rowId);
  console.log("age", age.toFixed(3), JSON.stringify(row));

  const asked = performance.now();
  await inv.refreshNow(rowId);
  const secondsSince = () => (performance.now() - asked) / 1000;
  await until(async () => (await inv.getWithAge(rowId))?.age < secondsSince(), "the row is read anew");
  console.log("fresh");

  await inv.drop(rowId);
  await until(async () => (await inv.get(rowId)) === null, "the row is dropped");
  console.log("dropped");
} finally {
  client.destroy();
}

async function until(ask, what, timeoutMs = 30_000) {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms until ${what}`);
    await sleep(10);
  }
}
