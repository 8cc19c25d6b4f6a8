/** `secrets rotate` on AWS: the same way; pools get their users with new tasks, which take over before anybody is told. */
import type pg from "pg";
import { awsName } from "../../components/aws/names.ts";
import { type AwsStackValues, furtherRegions } from "../../stacks/aws/outputs.ts";
import type { StackConfig } from "../../stacks/config.ts";
import { EXIT, type ExitCode } from "../../tuning/errors.ts";
import { type RotateFlags, asConfig, refuseOlder, report } from "../commands/rotate.ts";
import { confirm } from "../lib/ask.ts";
import { type RoleLogin, acceptedLogins, generationsOf, loginOf } from "../lib/login.ts";
import { step } from "../lib/progress.ts";
import { anyStackValues, openStack } from "../lib/stack.ts";
import { checkedConfig } from "../lib/stackConfig.ts";
import { CLIENT_ROLES, olderNames, phaseOf, stepsTo } from "../rotate/plan.ts";
import { type OlderSessions, endSessionsSql, sessionsSql } from "../rotate/sessions.ts";
import { aws } from "./cli.ts";
import { needsRds } from "./onRds.ts";
import { administratorOf, connectOver } from "./client.ts";
import { withWay } from "./reach.ts";
import { upAws } from "./up.ts";

/** What works with a client on each server, one after the other, gives of them. */
async function onServers<T>(
  { values, logins }: { values: AwsStackValues; logins: readonly RoleLogin[] },
  work: (client: pg.Client, host: string) => Promise<T>,
): Promise<T[]> {
  const found: T[] = [];
  const elsewhere = furtherRegions(values).flatMap(({ read }) => read);
  for (const endpoint of [values.endpoints.write, ...values.endpoints.read, ...elsewhere]) {
    await withWay(values, endpoint, async (way) => {
      for (const login of logins) {
        const client = await connectOver(way, login, "cgraph-db secrets");
        found.push(await work(client, way.host).finally(() => client.end().catch(() => undefined)));
      }
    });
  }
  return found;
}

/** Who is connected to a server by one of these names. An idle client of a pool has no connection to one. */
async function olderSessions(values: AwsStackValues, names: readonly string[]): Promise<OlderSessions[]> {
  const logins = [loginOf(values, "cgraph_monitor")];
  const found = await onServers({ values, logins }, async (client, where) => {
    const { rows } = await client.query<{ sessions: Omit<OlderSessions, "where">[] }>(sessionsSql(names));
    return (rows[0]?.sessions ?? []).map((row) => ({ where, ...row }));
  });
  return found.flat();
}

async function endSessions(values: AwsStackValues, names: readonly string[]): Promise<number> {
  const logins = [administratorOf(values)];
  const counts = await onServers({ values, logins }, async (client) => {
    const { rows } = await client.query<{ count: string }>(endSessionsSql(names));
    return Number(rows[0]?.count);
  });
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Every accepted login of a client's works on every server; the pool's tasks are those that know them. */
async function awaitAccepted(values: AwsStackValues, stack: string): Promise<void> {
  await step("logins", async () => {
    const logins = acceptedLogins(values).filter(({ role }) => CLIENT_ROLES.includes(role));
    await onServers({ values, logins }, (client) => client.query("SELECT 1"));
    return { value: undefined, done: "work on every server" };
  });
  if (values.endpoints.pool?.kind !== "pgbouncer") return;
  await step("tasks of the pool", async () => {
    await aws(values.region, [
      ...["ecs", "wait", "services-stable", "--cluster", awsName(stack), "--services", "pgbouncer"],
    ]);
    return { value: undefined, done: "new" };
  });
}

export async function rotateAws(flags: RotateFlags, config: StackConfig, interrupted: boolean): Promise<ExitCode> {
  const values = (await anyStackValues(await openStack(flags.stack))) as AwsStackValues;
  needsRds(values, "secrets rotate", "this version has no way to do it on nodes of Citus");
  const whole = !interrupted && String(generationsOf(values)) === String(config.passwordGenerations);
  const steps = stepsTo(flags.finish === true ? "settled" : "using", config.passwordGenerations, whole);
  const last = steps.at(-1) ?? config.passwordGenerations;
  const older = olderNames(last, CLIENT_ROLES);
  await confirm(
    flags.finish === true
      ? "The old passwords will be refused. Clients of the pool reconnect to its new tasks."
      : "New passwords will be made beside the old. Clients of the pool reconnect to its new tasks.",
    "yes",
    flags.yes === true,
  );
  for (const generations of steps) {
    if (phaseOf(generations) === "settled" && phaseOf(config.passwordGenerations) === "using" && !flags.endSessions) {
      refuseOlder(flags.stack, await olderSessions(values, older));
    }
    const changes = asConfig(generations);
    const wanted = { config: checkedConfig(flags.stack, changes), changes, silent: true };
    const code = await upAws({ stack: flags.stack, install: false, yes: true }, wanted);
    if (code !== EXIT.done) return code;
    await awaitAccepted((await anyStackValues(await openStack(flags.stack))) as AwsStackValues, flags.stack);
  }
  const ended = flags.finish === true && flags.endSessions === true ? await endSessions(values, older) : 0;
  report(flags, last, ended);
  return EXIT.done;
}
