/** Replicas that are to go serve nobody any more before they do. */
import { setTimeout as sleep } from "node:timers/promises";
import type { StackValues } from "../../stacks/outputs.ts";
import { superuserSql } from "./cluster.ts";
import { docker } from "./docker.ts";
import { reconnectPool } from "./pooler.ts";

/** For how long sessions of clients that came without a pool are waited for: they end only when the client likes. */
const PATIENCE_MS = 15_000;
const SOCKET = "UNIX-CONNECT:/run/haproxy/admin.sock";

/** The router leads no reader to these replicas of the first cluster any more; the pools' readers go to others. */
export async function drainReplicas(values: StackValues, names: readonly string[]): Promise<void> {
  const router = values.services.find(({ kind }) => kind === "haproxy");
  const leaving = values.nodes.filter(({ name }) => names.includes(name));
  if (!router || leaving.length === 0) return;
  for (const { name } of leaving) {
    const say = `echo "set server replicas/${name} state drain" | socat - ${SOCKET}`;
    await docker(["exec", router.container, "sh", "-c", say]);
  }
  const poolers = values.services.filter(({ kind }) => kind === "pgbouncer");
  await Promise.all(poolers.map(({ container }) => reconnectPool(container)));
  for (const until = Date.now() + PATIENCE_MS; Date.now() < until; await sleep(250)) {
    const counts = await Promise.all(
      leaving.map(({ container }) =>
        superuserSql(
          container,
          `SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename ~ '^cgraph(_readonly|_owner)?(_b)?$'`,
        ),
      ),
    );
    if (counts.every((count) => count === "0")) return;
  }
}
