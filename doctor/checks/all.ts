/** Every check that is one query and a judgement. Missing indexes and what Citus' planner says are advice, which takes more. */
import type { Check } from "../check.ts";
import { archiverCheck } from "./archiver.ts";
import { backupVerificationCheck, diskCheck } from "./backups.ts";
import { indexBloatCheck, tableBloatCheck } from "./bloat.ts";
import { cacheHitCheck } from "./cache.ts";
import { citusNodeCheck, citusTransactionCheck } from "./citusNodes.ts";
import { citusTableCheck, shardSkewCheck } from "./citusShards.ts";
import { hotTenantCheck } from "./citusTenants.ts";
import { connectionsCheck, poolSumCheck } from "./connections.ts";
import { duplicateIndexCheck, invalidIndexCheck, unusedIndexCheck } from "./indexes.ts";
import { partitionCheck } from "./partitions.ts";
import { replicationLagCheck, replicationSlotCheck } from "./replication.ts";
import { sequenceCheck } from "./sequences.ts";
import { idleInTransactionCheck, lockWaitCheck, longTransactionCheck } from "./sessions.ts";
import { settingCheck } from "./settings.ts";
import { nPlusOneCheck, slowQueryCheck } from "./statements.ts";
import { deadTuplesCheck, primaryKeyCheck } from "./tables.ts";
import { transactionIdCheck } from "./transactionId.ts";

export const ALL_CHECKS: readonly Check[] = [
  transactionIdCheck,
  archiverCheck,
  replicationSlotCheck,
  replicationLagCheck,
  connectionsCheck,
  poolSumCheck,
  lockWaitCheck,
  longTransactionCheck,
  idleInTransactionCheck,
  slowQueryCheck,
  nPlusOneCheck,
  unusedIndexCheck,
  duplicateIndexCheck,
  invalidIndexCheck,
  tableBloatCheck,
  indexBloatCheck,
  deadTuplesCheck,
  cacheHitCheck,
  sequenceCheck,
  primaryKeyCheck,
  partitionCheck,
  settingCheck,
  shardSkewCheck,
  hotTenantCheck,
  citusTableCheck,
  citusNodeCheck,
  citusTransactionCheck,
  backupVerificationCheck,
  diskCheck,
];
