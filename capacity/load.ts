/** From users to statements a second, CPU and WAL at the peak: one line a figure, all sums by hand. */
import { GUIDE } from "../stacks/guide.ts";
import { MEASURED } from "./measured.ts";

export const SECONDS_PER_MONTH = 730 * 3600;
/** The guide's table at its stage 4's end: 1 B messages a month and 10 TB for 10 M users. */
const AT = GUIDE[4];
const usersAt = AT.users.value.max ?? 1;
export const MESSAGES_PER_USER = (AT.messagesPerMonth.value.max ?? 0) / usersAt;
export const BYTES_PER_USER = ((AT.databaseSizeGB.value.max ?? 0) * 1e9) / usersAt;

/** Ours, where the guide says nothing and nothing was measured. Each is a line in docs/capacity.md. */
const REASONS = {
  peakToMean: [3, "the busiest hour to the mean of a month"],
  reactionsPerMessage: [0.2, "a message in five gets one"],
  marksPerMessage: [0.5, "two messages are marked as read at a time"],
  sendersPerConversation: [2, "most conversations are of two; their ids lead to two shards"],
  pagesPerRead: [53, "each of 50 messages on a page of its own, three pages of the index"],
  fill: [0.7, "what CPUs, disks, … are planned to be filled to; the guide warns of disks at 70 %"],
  missShare: [0.01, "pages that are not in memory; the guide warns where it is more"],
  networkMs: [1, "for which a connection is held beside the work: to the next node and back"],
  busyShare: [0.5, "of a pool's connections at the peak, so that nobody waits"],
  activeShare: [0.1, "of all users, who are there at the peak"],
  cacheEntriesPerActive: [5, "of a user in the cache: the guide's five kinds"],
  compressedShare: [0.5, "what is left of data and WAL in a backup"],
} as const;
type Assumption = keyof typeof REASONS;
export const ASSUMPTIONS = Object.entries(REASONS).map(([name, [value, why]]) => ({ name, value, why }));
export const ASSUMED = Object.fromEntries(ASSUMPTIONS.map(({ name, value }) => [name, value])) as Record<
  Assumption,
  number
>;

/** "Message loading is 80 % of your load" (Stage 2); of the rest, half are writes. */
export const SHARE = { reads: 0.8, writes: 0.1, lookups: 0.1 } as const;

/** How the last messages of a conversation are found. */
export const READINGS = {
  every: "every shard is asked: messages by sender_id, as the guide distributes them, read by conversation_id",
  members: "the members' shards are asked: the same table, their sender_ids in the WHERE clause as well",
  conversation: "one shard is asked: messages distributed by conversation_id, which is not the guide's way",
} as const;
export type Reading = keyof typeof READINGS;

/** Shards that one read, and one marking as read, asks. */
export function shardsAsked(reading: Reading, shardCount: number): number {
  const few = { members: ASSUMED.sendersPerConversation, conversation: 1 };
  return reading === "every" ? shardCount : Math.min(shardCount, few[reading]);
}

export interface Load {
  readonly databaseBytes: number;
  readonly messagesPerSecond: number;
  readonly reactionsPerSecond: number;
  readonly marksPerSecond: number;
  readonly readsPerSecond: number;
  readonly lookupsPerSecond: number;
  readonly statementsPerSecond: number;
  /** CPUs busy at all workers together. */
  readonly workerCpus: number;
  /** CPUs busy with parsing, planning and passing on: at the coordinator, or at whatever nodes are asked. */
  readonly routingCpus: number;
  readonly walBytesPerSecond: number;
  /** Pages read and written a second, and one flush of the WAL for each write. */
  readonly iops: number;
  /** Rows on their way to the application. */
  readonly resultBytesPerSecond: number;
}

/** At the peak. */
export function loadOf(users: number, asked: number): Load {
  const m = MEASURED;
  const messages = (users * MESSAGES_PER_USER * ASSUMED.peakToMean) / SECONDS_PER_MONTH;
  const [reactions, marks] = [messages * ASSUMED.reactionsPerMessage, messages * ASSUMED.marksPerMessage];
  const writes = messages + reactions + marks;
  const statements = writes / SHARE.writes;
  const [reads, lookups] = [statements * SHARE.reads, statements * SHARE.lookups];

  const routeMs = m.routeCpuMs.value + (asked - 1) * m.fanOutCpuMs.value;
  const shardsMs = m.shardCpuMs.value + (asked - 1) * m.furtherShardCpuMs.value;
  const readMs = m.readCpuMs.value + shardsMs;
  const markMs = m.markCpuMs.value + shardsMs;
  const insertMs = m.insertCpuMs.value + m.shardCpuMs.value;
  const reactionMs = m.reactionCpuMs.value + m.shardCpuMs.value;
  const workerCpus = (reads * readMs + marks * markMs + messages * insertMs + reactions * reactionMs) / 1000;
  // Users are a reference table: the node that is asked has them itself.
  const lookupMs = m.routeCpuMs.value + m.lookupCpuMs.value;
  const routingCpus =
    ((reads + marks) * routeMs + (messages + reactions) * m.routeCpuMs.value + lookups * lookupMs) / 1000;

  const imagePages =
    messages * m.insertImagePages.value + marks * m.markImagePages.value + reactions * m.reactionImagePages.value;
  return {
    databaseBytes: users * BYTES_PER_USER,
    messagesPerSecond: messages,
    reactionsPerSecond: reactions,
    marksPerSecond: marks,
    readsPerSecond: reads,
    lookupsPerSecond: lookups,
    statementsPerSecond: statements,
    workerCpus,
    routingCpus,
    walBytesPerSecond:
      messages * m.insertWalBytes.value + reactions * m.reactionWalBytes.value + marks * m.markWalBytes.value,
    iops: reads * ASSUMED.pagesPerRead * ASSUMED.missShare + imagePages + writes,
    // 48 bytes beside the text: two ids, two times.
    resultBytesPerSecond: reads * 50 * (m.messageContentBytes.value + 48),
  };
}
