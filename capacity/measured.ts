/** What one statement costs, and what one process can do: each with its source. A test compares the first with bench/results. */
export interface Input {
  readonly value: number;
  readonly source: string;
  /** Neither measured nor the guide's. */
  readonly assumed?: true;
}

const ONE_SERVER = "bench/results/capacity.json";
const CITUS = "bench/results/routing.json";
const server = (value: number): Input => ({ value, source: ONE_SERVER });
const citus = (value: number): Input => ({ value, source: CITUS });

export const MEASURED = {
  /** Of the last 50 messages of a conversation, from memory. */
  readCpuMs: server(0.1764),
  readPages: server(57),
  lookupCpuMs: server(0.0472),
  insertCpuMs: server(0.3917),
  markCpuMs: server(0.3725),
  reactionCpuMs: server(0.337),
  /** Records and full-page images of WAL, a statement. */
  insertWalBytes: server(1037 + 4467),
  markWalBytes: server(1291 + 3582),
  reactionWalBytes: server(542 + 4121),
  /** Pages with a full image, which is how many scattered pages a statement changes. */
  insertImagePages: server(6),
  markImagePages: server(6),
  reactionImagePages: server(4),
  /** A row with all its indexes. */
  messageBytes: server(509),
  userBytes: server(400),
  messageContentBytes: server(70),
  poolerCpuMs: server(0.0216),
  cacheEntryBytes: server(450),
  /** By the one process that does it. */
  replayBytesPerSecond: server(50e6),
  /** Of the node that routes: for a statement that asks one shard, and for each further shard. */
  routeCpuMs: citus(0.41),
  fanOutCpuMs: citus(0.12),
  /** Of the workers, for each shard asked, before a row is found: TLS, parsing, planning ten partitions. */
  shardCpuMs: citus(0.69),
} as const satisfies Readonly<Record<string, Input>>;
