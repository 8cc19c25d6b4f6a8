/** pgbench from a container on a stack's own network, as an application's server would reach it. */
import { dockerName } from "../components/docker/names.ts";
import { DATABASE, READ_DATABASE, type RoleName } from "../components/roles.ts";
import { loginOf } from "../scripts/lib/login.ts";
import type { StackValues } from "../stacks/outputs.ts";
import { docker } from "./docker.ts";
import type { BenchStack } from "./stack.ts";

/** Where clients connect to: the primary or the replicas through the router alone, or the pools. */
export type Route = "primary" | "replicas" | "pool" | "readPool";

const ROUTES: Readonly<Record<Route, { readonly port: number; readonly database: string }>> = {
  primary: { port: 5432, database: DATABASE },
  replicas: { port: 5433, database: DATABASE },
  pool: { port: 6432, database: DATABASE },
  readPool: { port: 6432, database: READ_DATABASE },
};

export interface PgbenchFigures {
  readonly transactionsPerSecond: number;
  /** 99 of 100 transactions took at most so long. */
  readonly p99Ms: number;
}

export interface PgbenchRun {
  readonly route: Route;
  readonly clients: number;
  readonly seconds: number;
  /** pgbench's own options, such as --select-only. */
  readonly options: readonly string[];
}

async function inContainer(stack: BenchStack, role: RoleName, script: string): Promise<string> {
  const image = imageOf(stack.values);
  const { user, password } = loginOf(stack.values, role);
  return docker(
    [
      ...["run", "--rm", "--interactive", "--network", dockerName(stack.name), "--label", `cgraph.stack=${stack.name}`],
      ...["--volume", `${dockerName(stack.name, "tls")}:/var/lib/cgraph-tls:ro`, "--ulimit", "nofile=16384:16384"],
      ...["--env", "PGSSLMODE=verify-full", "--env", "PGSSLROOTCERT=/var/lib/cgraph-tls/ca.crt"],
      ...["--env", "PGHOST=haproxy", "--env", `PGUSER=${user}`, "--env", "PGPASSFILE=/tmp/pgpass"],
      ...["--entrypoint", "bash", image, "-euc", `umask 077; cat >/tmp/pgpass; ${script}`],
    ],
    { input: `haproxy:*:*:*:${password}\n` },
  );
}

function imageOf(values: StackValues): string {
  const [node] = values.nodes;
  if (!node) throw new Error("the stack has no server");
  return node.image;
}

/** pgbench's tables; a scale is 100 000 accounts, about 15 MB. */
export const preparePgbench = (stack: BenchStack, scale: number): Promise<string> =>
  inContainer(stack, "cgraph_owner", `pgbench -i -q -s ${scale} -p 5432 ${DATABASE} 2>&1`);

/** Runs pgbench. Throws where a transaction fails. */
export async function runPgbench(stack: BenchStack, run: PgbenchRun): Promise<PgbenchFigures> {
  const { port, database } = ROUTES[run.route];
  const text = await inContainer(
    stack,
    "cgraph",
    `cd /tmp; pgbench --no-vacuum --jobs=2 --client=${run.clients} --time=${run.seconds} \\
       --log --log-prefix=/tmp/log ${run.options.join(" ")} -p ${port} ${database} 2>&1
     cat /tmp/log.* | awk '{ print $3 }' | sort -n | awk '{ t[NR] = $1 } END { print "p99 us: " t[int(NR * 0.99)] }'`,
  );
  const number = (pattern: RegExp): number => {
    const value = Number(pattern.exec(text)?.[1]);
    if (!Number.isFinite(value)) throw new Error(`pgbench printed no ${pattern.source}:\n${text.slice(-2000)}`);
    return value;
  };
  if (number(/number of failed transactions: (\d+)/) > 0) throw new Error(`transactions failed:\n${text.slice(-2000)}`);
  return { transactionsPerSecond: number(/tps = ([\d.]+)/), p99Ms: number(/p99 us: (\d+)/) / 1000 };
}
