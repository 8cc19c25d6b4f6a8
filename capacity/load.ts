/** From users to statements a second, CPU and WAL at the peak: one line a figure, all sums by hand. */
import { GUIDE } from "../stacks/guide.ts";
import { MEASURED } from "./measured.ts";

const SECONDS_PER_MONTH = 730 * 3600;
/** The guide's table at its stage 4's end: 1 B messages a month and 10 TB for 10 M users. */
const AT = GUIDE[4];
const usersAt = AT.users.value.max ?? 1;
export const MESSAGES_PER_USER = (AT.messagesPerMonth.value.max ?? 0) / usersAt;
export const BYTES_PER_USER = ((AT.databaseSizeGB.value.max ?? 0) * 1e9) / usersAt;

/** Ours, where the guide says nothing. */
export const ASSUMED = { peakToMean: 3, reactionsPerMessage: 0.2, marksPerMessage: 0.5 } as const;
/** "Message loading is 80 % of your load" (Stage 2); of the rest, half are writes. */
const SHARE = { reads: 0.8, writes: 0.1, lookups: 0.1 } as const;

export interface Load {
  readonly databaseBytes: number;
  readonly messagesPerSecond: number;
  readonly readsPerSecond: number;
  readonly lookupsPerSecond: number;
  readonly statementsPerSecond: number;
  /** Cores busy at all workers together where a read asks one shard. */
  readonly workerCores: number;
  readonly routingCores: number;
  readonly walBytesPerSecond: number;
}

/** At the peak. `shardsAsked`: by one read of a conversation. */
export function loadOf(users: number, shardsAsked: number): Load {
  const messages = (users * MESSAGES_PER_USER * ASSUMED.peakToMean) / SECONDS_PER_MONTH;
  const [reactions, marks] = [messages * ASSUMED.reactionsPerMessage, messages * ASSUMED.marksPerMessage];
  const statements = (messages + reactions + marks) / SHARE.writes;
  const [reads, lookups] = [statements * SHARE.reads, statements * SHARE.lookups];
  const m = MEASURED;
  const readMs = m.readCpuMs.value + (shardsAsked - 1) * m.readPartCpuMs.value;
  const routeMs = m.routeCpuMs.value + (shardsAsked - 1) * m.fanOutCpuMsPerShard.value;
  const writesMs = messages * m.insertCpuMs.value + reactions * m.reactionCpuMs.value + marks * m.markCpuMs.value;
  return {
    databaseBytes: users * BYTES_PER_USER,
    messagesPerSecond: messages,
    readsPerSecond: reads,
    lookupsPerSecond: lookups,
    statementsPerSecond: statements,
    workerCores: (reads * readMs + lookups * m.lookupCpuMs.value + writesMs) / 1000,
    routingCores: (reads * routeMs + (statements - reads) * m.routeCpuMs.value) / 1000,
    walBytesPerSecond:
      messages * m.insertWalBytes.value + reactions * m.reactionWalBytes.value + marks * m.markWalBytes.value,
  };
}
