// Reads and schedules the rows that rowcache_tasks keeps in Redis. Copy this file; it needs only a client of the npm
// package `redis`. docs/other-languages.md explains each command.

export class RowCache {
  constructor(client, namespace = "") {
    this.client = client;
    this.values = `${namespace || "inv"}:`;
    this.schedules = `schedule:${namespace}`;
    this.delays = `delay:${namespace}`;
    this.refreshed = `refreshed:${namespace}`;
  }

  // The row as an object, or null when it is not cached.
  async get(rowId) {
    const value = await this.client.get(this.values + rowId);
    return value === null ? null : JSON.parse(value);
  }

  // Row id -> row or null, in the order of rowIds; one round trip.
  async getMany(rowIds) {
    if (rowIds.length === 0) return new Map();
    const values = await this.client.mGet(rowIds.map((rowId) => this.values + rowId));
    return new Map(rowIds.map((rowId, i) => [rowId, values[i] === null ? null : JSON.parse(values[i])]));
  }

  // The row and its age in seconds, or null when it is not cached.
  // A transaction: a refresh between the two reads would make an old value look young.
  async getWithAge(rowId) {
    const [value, refreshed, time] = await this.client
      .multi()
      .get(this.values + rowId)
      .zScore(this.refreshed, rowId)
      .time()
      .exec();
    if (value === null) return null;
    return { row: JSON.parse(value), age: refreshed === null ? Infinity : Math.max(0, seconds(time) - refreshed) };
  }

  // Caches the row from now on, refreshed every `delay` seconds.
  async schedule(rowId, delay) {
    await this.client
      .multi()
      .zAdd(this.delays, { score: delay, value: rowId })
      .zAdd(this.schedules, { score: await this.#now(), value: rowId })
      .exec();
  }

  // Call it after a change of the row in the database: a value that is read after this call will be cached.
  async refreshNow(rowId) {
    await this.client.zAdd(this.schedules, { score: await this.#now(), value: rowId }, { condition: "XX", comparison: "LT" });
  }

  // Stops caching the row. A dispatcher removes the value within about 50 ms.
  async drop(rowId) {
    await this.schedule(rowId, -1);
  }

  // The time of the server: clocks of clients differ.
  async #now() {
    return seconds(await this.client.time());
  }
}

// The row id of a key of several columns: parts joined by commas; in a part, %2C is a comma and %25 a percent sign.
export function joinRowId(...parts) {
  if (parts.length === 1) return String(parts[0]);
  return parts.map((part) => String(part).replaceAll("%", "%25").replaceAll(",", "%2C")).join(",");
}

// The keys of the row of a table with partitions; `layout` is the JSON at the key layout:<namespace>.
export function keysOf(rowId, layout, namespace = "") {
  const { partitions, tags } = JSON.parse(layout);
  const place = `{${tags[crc32(Buffer.from(String(rowId))) & (partitions - 1)]}}`;
  return {
    value: `${namespace || "inv"}${place}:${rowId}`,
    schedule: `schedule:${namespace}${place}`,
    delay: `delay:${namespace}${place}`,
    refreshed: `refreshed:${namespace}${place}`,
  };
}

// zlib.crc32 of Node.js 22 is the same.
function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

function seconds([seconds, microseconds]) {
  return Number(seconds) + Number(microseconds) / 1e6;
}
