/** Transaction ids: at two thousand million without a freeze PostgreSQL stops taking writes. */
import { count, duration } from "../../tuning/words.ts";
import type { Check, Query } from "../check.ts";
import { above, finding } from "../finding.ts";
import { asJson, qualified } from "../sql.ts";

interface Ages {
  readonly name: string;
  readonly transactions: number;
  readonly multixacts: number;
}

export interface TransactionIdRow {
  readonly databases: readonly (Ages & {
    /** Whether it is the one that was asked. */
    readonly own: boolean;
  })[];
  /** Of this database, oldest first. */
  readonly tables: readonly Ages[];
  /** Seconds of the transaction that has been open for longest; null: none. */
  readonly oldestSeconds: number | null;
}

const transactionIds: Query<TransactionIdRow> = {
  name: "transaction-ids",
  asked: "monitor",
  needs: ["primary"],
  sql: () => `SELECT ${asJson(`SELECT quote_ident(datname) AS name, datname = current_database() AS own, age(datfrozenxid) AS transactions,
      mxid_age(datminmxid) AS multixacts FROM pg_database WHERE datallowconn`)} AS databases,
    ${asJson(`SELECT ${qualified("n", "c")} AS name, age(c.relfrozenxid) AS transactions, mxid_age(c.relminmxid) AS multixacts
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_(toast|temp)'
      ORDER BY greatest(age(c.relfrozenxid), mxid_age(c.relminmxid)) DESC LIMIT 3`)} AS tables,
    (SELECT extract(epoch FROM clock_timestamp() - min(xact_start)) FROM pg_stat_activity
      WHERE pid <> pg_backend_pid()) AS "oldestSeconds"`,
};

/** Databases whose oldest row is old; of the one that was asked, the tables to freeze. */
export const transactionIdCheck: Check<TransactionIdRow> = {
  id: "transaction-id",
  query: transactionIds,
  judge(rows, { thresholds }) {
    const [row] = rows;
    const findings = (row?.databases ?? []).flatMap(({ name, own, transactions, multixacts }) => {
      const age = Math.max(transactions, multixacts);
      const severity = above(age, thresholds.transactionIds, thresholds.transactionIdsCritical);
      if (!severity) return [];
      const what = multixacts > transactions ? "multixacts" : "transaction ids";
      const open = row?.oldestSeconds ?? 0;
      return [
        finding({
          check: "transaction-id",
          severity,
          subject: `database ${name}`,
          says: `${count(age)} ${what} used since the oldest row was frozen, of 2.1 thousand million`,
          evidence: { transactions, multixacts, oldestTransactionSeconds: Math.round(open) },
          fix: own
            ? (row?.tables ?? []).map((table) => `VACUUM (FREEZE, ANALYZE) ${table.name};`)
            : [`\\connect ${name}`, "VACUUM (FREEZE, ANALYZE);"],
          note:
            open > thresholds.transactionSeconds
              ? `a transaction has been open for ${duration(open)}: nothing later than it can be frozen until it ends`
              : null,
        }),
      ];
    });
    return { findings };
  },
};
