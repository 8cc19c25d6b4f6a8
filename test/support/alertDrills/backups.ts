/** Drills of the alerts about backups. */
import { cgraphOk } from "../cli.ts";
import { TIME, type Drill, type Drilled } from "./drill.ts";

const REPOSITORY = "/var/lib/pgbackrest";
const DAY_MS = 86_400_000;

export function backupDrills(on: Drilled): Drill[] {
  // As the schedule does, once a minute.
  const figures = (): Promise<string> => on.shell("backup", "cgraph-backup-figures");
  const backup = async (): Promise<void> => {
    await cgraphOk("backup", "--stack", on.stack);
    await figures();
  };
  const archive = `${REPOSITORY}/archive/cgraph/*-1`;
  const verified =
    (days: number, ok = true) =>
    async () => {
      const at = new Date(Date.now() - days * DAY_MS).toISOString();
      const file = `${REPOSITORY}/cgraph/verified.json`;
      await on.shell(
        "backup",
        `mkdir -p ${REPOSITORY}/cgraph && echo '${JSON.stringify({ ok, at, lastGoodAt: at })}' >${file}`,
      );
      await figures();
    };
  return [
    {
      alerts: ["archiving_behind"],
      labels: { server: "pg0" },
      causes: {
        warning: async () => {
          await on.shell("pg0", `chmod a-w ${archive} ${archive}/*`);
          await on.superuser("SELECT pg_logical_emit_message(false, 'drill', ''); SELECT pg_switch_wal()");
        },
        critical: TIME,
      },
      end: () => on.shell("pg0", `chmod u+w ${archive} ${archive}/*`),
    },
    {
      alerts: ["backup_age"],
      before: backup,
      causes: { warning: TIME, critical: TIME },
      end: backup,
      firesWithinMs: 180_000,
    },
    {
      alerts: ["backup_unverified"],
      causes: { warning: verified(8), critical: verified(15) },
      end: verified(0),
    },
    {
      alerts: ["backup_damaged"],
      quick: "critical",
      causes: { critical: verified(0, false) },
      end: verified(0),
    },
  ];
}
