/** Whether a source can be imported, and what is to be known about it: pure, so that each case can be tried. */
import { bytes } from "../lib/print.ts";
import type { SourceFacts, TargetFacts } from "./inspect.ts";

export interface Refusal {
  readonly problem: string;
  readonly remedy: string;
}

export interface Verdict {
  readonly refusals: readonly Refusal[];
  /** What is different afterwards, or has to be watched. */
  readonly notes: readonly string[];
}

/** Majors that pgcopydb's Debian package and this command have been made for. */
const OLDEST = 14;
/** Indexes and sorting take room beside the data. */
const ROOM = 1.3;
const PROVIDERS: Readonly<Record<string, string>> = { b: "builtin", c: "libc", i: "ICU" };
/** Their order is that of the bytes, as that of the target's C.UTF-8. */
const BYTE_ORDER = /^(C|POSIX|C\.UTF-?8|ucs_basic)$/i;

const some = (names: readonly string[], limit = 10): string =>
  names.length <= limit ? names.join(", ") : `${names.slice(0, limit).join(", ")} and ${names.length - limit} more`;
const major = (version: number): number => Math.floor(version / 10_000);
const missing = (wanted: readonly string[], there: readonly string[]): string[] =>
  wanted.filter((name) => !there.includes(name));

function refuseSource(source: SourceFacts): (Refusal | false)[] {
  return [
    major(source.version) < OLDEST && {
      problem: `the source is PostgreSQL ${major(source.version)}`,
      remedy: `versions from ${OLDEST} on are imported: upgrade it first`,
    },
    source.inRecovery && { problem: "the source is a replica", remedy: "give its primary in --from" },
    source.encoding === "SQL_ASCII" && {
      problem: "the source's encoding is SQL_ASCII: nobody knows what its bytes mean",
      remedy: "dump it and load it into a UTF8 database first",
    },
    !source.readsTables && {
      problem: "the source's user may not read every table",
      remedy: "GRANT pg_read_all_data to it, or name the tables' owner in --from",
    },
    source.preparedTransactions > 0 && {
      problem: `the source has ${source.preparedTransactions} prepared transactions, which could be committed at any time`,
      remedy: "COMMIT PREPARED or ROLLBACK PREPARED them (pg_prepared_xacts)",
    },
    source.subscriptions > 0 && {
      problem: "the source itself subscribes to another database",
      remedy: "drop its subscriptions: a copy of them would receive the same changes twice",
    },
    !source.ownsDatabase && {
      problem: "the source's user may not make the database read only",
      remedy: "name the database's owner or a superuser in --from",
    },
    source.writableRoles.length > 0 && {
      problem: `these roles would go on writing to a read-only source: ${some(source.writableRoles)}`,
      remedy: "ALTER ROLE … RESET default_transaction_read_only for each",
    },
    source.leftovers.length > 0 && {
      problem: `the source has what another import made: ${some(source.leftovers)}`,
      remedy: "take that one back (--rollback), or drop them: pg_drop_replication_slot(), DROP PUBLICATION",
    },
  ];
}

function refuseFollow(source: SourceFacts): (Refusal | false)[] {
  const tables = (pick: (table: SourceFacts["tables"][number]) => boolean): string[] =>
    source.tables.filter(pick).map(({ name }) => name);
  const [anonymous, unlogged] = [tables((table) => !table.identity), tables((table) => table.unlogged)];
  return [
    source.walLevel !== "logical" && {
      problem: `the source's wal_level is ${source.walLevel}`,
      remedy: "ALTER SYSTEM SET wal_level = logical and restart it, or import without --follow while nobody writes",
    },
    !source.mayReplicate && {
      problem: "the source's user may not replicate",
      remedy: "ALTER ROLE … REPLICATION (on RDS: GRANT rds_replication)",
    },
    !source.ownsTables && {
      problem: "the source's user does not own every table, so it cannot publish their changes",
      remedy: "name the tables' owner or a superuser in --from",
    },
    source.freeSlots < 1 && {
      problem: "the source has no replication slot left",
      remedy: "raise its max_replication_slots",
    },
    source.freeSenders < 2 && {
      problem: "the source has fewer than two WAL senders left",
      remedy: "raise its max_wal_senders",
    },
    anonymous.length > 0 && {
      problem: `changes of these tables cannot be followed, since they have no primary key: ${some(anonymous)}`,
      remedy: "add one, or ALTER TABLE … REPLICA IDENTITY FULL, or import without --follow",
    },
    unlogged.length > 0 && {
      problem: `changes of unlogged tables cannot be followed: ${some(unlogged)}`,
      remedy: "ALTER TABLE … SET LOGGED, or import without --follow",
    },
    source.largeObjects > 0 && {
      problem: `changes of large objects cannot be followed, and the source has ${source.largeObjects}`,
      remedy: "import without --follow",
    },
  ];
}

function refuseTarget(source: SourceFacts, target: TargetFacts, stack: string): (Refusal | false)[] {
  const extensions = missing(source.extensions, target.extensions);
  const collations = missing(source.collations, target.collations);
  const roles = missing(source.policyRoles, target.roles);
  const needed = Math.ceil(source.sizeBytes * ROOM);
  return [
    major(source.version) > major(target.version) && {
      problem: `the source is PostgreSQL ${major(source.version)}, newer than the stack's ${major(target.version)}`,
      remedy: "make a stack with cgraph:postgresVersion as new as the source",
    },
    target.relations.length > 0 && {
      problem: `the database of stack ${stack} is not empty: ${some(target.relations, 5)}`,
      remedy: "import into a new stack (--stack NAME), or drop these",
    },
    extensions.length > 0 && {
      problem: `the stack's server lacks extensions that the source uses: ${some(extensions)}`,
      remedy: "drop them on the source where nothing needs them (DROP EXTENSION)",
    },
    collations.length > 0 && {
      problem: `the stack's server lacks collations that columns of the source name: ${some(collations)}`,
      remedy: "give those columns another collation: ALTER TABLE … ALTER COLUMN … TYPE text COLLATE …",
    },
    roles.length > 0 && {
      problem: `row policies of the source name roles that the stack lacks: ${some(roles)}`,
      remedy: "make them in the stack (CREATE ROLE … NOLOGIN, ./cgraph-db psql --role postgres), or drop the policies",
    },
    needed > target.freeBytes && {
      problem: `the source has ${bytes(source.sizeBytes)}; with room to build indexes that is ${bytes(needed)}, and the stack's disk has ${bytes(target.freeBytes)} left`,
      remedy: "make room on Docker's disk (docker system df)",
    },
  ];
}

function notesOf(source: SourceFacts, follow: boolean): (string | false)[] {
  const provider = PROVIDERS[source.provider] ?? source.provider;
  const version = source.collationVersion === null ? "" : `, version ${source.collationVersion}`;
  const bytewise = BYTE_ORDER.test(source.locale);
  const same = source.provider === "b" && /^C\.UTF-?8$/i.test(source.locale);
  const order = bytewise
    ? "the same order; lower() and upper() may differ beyond ASCII"
    : "ORDER BY gives another order there, unless it names a collation";
  return [
    !same && `the source sorts by ${source.locale} (${provider}${version}), the stack by C.UTF-8 (builtin): ${order}`,
    !same &&
      source.collated.length > 0 &&
      `made anew in the stack's order: ${some(source.collated, 20)}${bytewise ? "" : "; look at constraints and partitions among them"}`,
    source.encoding !== "UTF8" && `the source's ${source.encoding} becomes UTF8`,
    source.longTransactions.length > 0 &&
      `long transactions on the source hold up the beginning of --follow, and are ended before the end: ${some(source.longTransactions, 3)}`,
    source.settings.length > 0 && `settings of the source's database are not taken along: ${some(source.settings)}`,
    source.largeObjects > 0 && `${source.largeObjects} large objects are copied too`,
    "owners and rights are not taken along: everything becomes cgraph_owner's, with the rights of the stack's roles",
    follow && "change no table, index or type on the source until the import has ended: such changes are not followed",
    follow &&
      (source.slotKeepMiB < 0
        ? "the source keeps its WAL until it has been followed: watch its disk while the copy runs"
        : `the source keeps at most ${source.slotKeepMiB} MiB of WAL (max_slot_wal_keep_size): a copy that takes longer has to begin anew`),
  ];
}

const isThere = <T>(value: T | false): value is T => value !== false;

/** `target` is undefined where there is no stack yet. */
export function assess(
  source: SourceFacts,
  target: TargetFacts | undefined,
  { follow, stack }: { readonly follow: boolean; readonly stack: string },
): Verdict {
  return {
    refusals: [
      ...refuseSource(source),
      ...(follow ? refuseFollow(source) : []),
      ...(target ? refuseTarget(source, target, stack) : []),
    ].filter(isThere),
    notes: notesOf(source, follow).filter(isThere),
  };
}
