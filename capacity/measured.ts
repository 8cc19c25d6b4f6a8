/** Costs of one statement, each with its source. Those marked provisional wait for a full run on a real cluster. */
export interface Input {
  readonly value: number;
  readonly source: string;
  readonly provisional?: true;
}

const SMALL = "bench/capacity.ts, a small run: 20 000 messages, one CPU, no TLS";
const small = (value: number): Input => ({ value, source: SMALL, provisional: true });
const assumed = (value: number, source: string): Input => ({ value, source, provisional: true });

export const MEASURED = {
  /** Of one message: that run had one a conversation. The last 50 cost more, so workers' CPU is reckoned too low. */
  readCpuMs: { value: 0.0861, source: `${SMALL}; each conversation had one message, not 50`, provisional: true },
  readPartCpuMs: small(0.083),
  lookupCpuMs: small(0.0552),
  insertCpuMs: small(0.3917),
  markCpuMs: small(0.3725),
  reactionCpuMs: small(0.337),
  /** Records and full-page images of WAL, a statement. */
  insertWalBytes: small(1037 + 4467),
  markWalBytes: small(1291 + 3582),
  reactionWalBytes: small(542 + 4121),
  messageBytes: small(509),
  reactionBytes: small(219),
  poolerCpuMs: small(0.0216),
  /** What the node that routes adds to a statement for one shard, and for each shard of one that asks several. */
  routeCpuMs: assumed(0.15, "assumed: parse, plan and send again; to be measured with Citus"),
  fanOutCpuMsPerShard: assumed(0.05, "assumed: to be measured with Citus"),
} as const satisfies Readonly<Record<string, Input>>;
