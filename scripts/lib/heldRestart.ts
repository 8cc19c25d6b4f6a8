/** Restarts that changed settings need: replicas one by one, then the primary where it is, with the pools held. */
import type { NodeOutput, StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type PatroniAnswer, currentPrimary, preparePatroni, settle, superuserSql } from "./cluster.ts";
import { run } from "./run.ts";
import { PoolPause } from "./pooler.ts";
import { pendingRestart, restartNode } from "./restart.ts";
import { awaitRoute } from "./switchover.ts";

/** Ends when another postmaster than now takes connections: Patroni itself looks once a second. */
const RESTARTED = `. /usr/local/bin/cgraph-lib
pid() { head -n 1 "$PGDATA/postmaster.pid" 2>/dev/null; }
old=$(pid)
for _ in $(seq 3000); do
  new=$(pid)
  [ -z "$new" ] || [ "$new" = "$old" ] || ! pg_isready -q || exit 0
  sleep 0.02
done
exit 1`;

/** Restarts the primary in place; clients of the pools wait. Gives for how long, in milliseconds. */
async function restartHeld(values: StackValues, primary: NodeOutput): Promise<number> {
  await superuserSql(primary.container, "CHECKPOINT");
  const request = preparePatroni(primary.container, "/restart", {}, 120);
  const restarted = run("docker", ["exec", "--user", "postgres", primary.container, "sh", "-c", RESTARTED]);
  const pools = new PoolPause(values);
  try {
    await pools.begin();
  } catch (error) {
    request.drop();
    throw error;
  }
  const answer = request.send();
  const failed = ({ status, text }: PatroniAnswer): UserError =>
    new UserError(`${primary.name} did not restart: ${text || status}`, "see ./cgraph-db status", EXIT.failed);
  // Patroni answers a while after the fact; a refusal comes at once.
  const refusal = answer.then((given) => {
    if (given.status !== 200) throw failed(given);
    return new Promise<never>(() => undefined);
  });
  try {
    await Promise.race([restarted, refusal]);
    await Promise.race([awaitRoute(values, primary.name), refusal]);
  } finally {
    await pools.end();
  }
  const given = await answer;
  if (given.status !== 200) throw failed(given);
  return pools.heldMs;
}

/** Restarts every server that waits for it; gives their names, and how long the pools were held. */
export async function restartPending(values: StackValues): Promise<{ restarted: string[]; heldMs: number }> {
  await settle(values);
  const restarted: string[] = [];
  let heldMs = 0;
  // What is lowered is lowered on the primary first: replicas may then wait once more.
  for (let round = 0; round < 2; round++) {
    const primary = await currentPrimary(values);
    for (const node of values.nodes) {
      if (node.name === primary.name || (await pendingRestart(node)).length === 0) continue;
      await restartNode(values, node);
      restarted.push(node.name);
    }
    if ((await pendingRestart(primary)).length === 0) continue;
    heldMs = Math.max(heldMs, await restartHeld(values, primary));
    restarted.push(primary.name);
    await settle(values);
  }
  return { restarted, heldMs };
}
