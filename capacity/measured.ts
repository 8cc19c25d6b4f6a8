/** What one statement costs, and what one process can do: each with its source. A test compares the first with bench/results. */
export interface Input {
  readonly value: number;
  readonly source: string;
}

const ONE_SERVER = "bench/results/capacity.json";
const CITUS = "bench/results/routing.json";
const server = (value: number): Input => ({ value, source: ONE_SERVER });
const citus = (value: number): Input => ({ value, source: CITUS });

export const MEASURED = {
  /** Of the last 50 messages of a conversation, from memory. */
  readCpuMs: server(0.1764),
  lookupCpuMs: server(0.0472),
  insertCpuMs: server(0.3764),
  markCpuMs: server(0.352),
  reactionCpuMs: server(0.2275),
  /** Records and full-page images of WAL, a statement. */
  insertWalBytes: server(1991 + 13_186),
  markWalBytes: server(3298 + 31_242),
  reactionWalBytes: server(524 + 12_319),
  /** Pages with a full image, which is how many scattered pages a statement changes. */
  insertImagePages: server(3.16),
  markImagePages: server(6.11),
  reactionImagePages: server(2.31),
  /** A row of `users` with all its indexes; the text of a message. */
  userBytes: server(280),
  messageContentBytes: server(81),
  poolerCpuMs: server(0.0181),
  cacheEntryBytes: server(427),
  /** By the one process that does it. */
  replayBytesPerSecond: server(421_725_624 / 2.16),
  /** Of the node that routes: for a statement that asks one shard, and for each further shard. */
  routeCpuMs: citus(0.407),
  fanOutCpuMs: citus(0.135),
  /** Of the workers, before a row is found (TLS, parsing, planning ten partitions): for one shard, and each further. */
  shardCpuMs: citus(0.867),
  furtherShardCpuMs: citus(0.721),
} as const satisfies Readonly<Record<string, Input>>;
