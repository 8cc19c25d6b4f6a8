/** What Docker says of the primary's container, and PgBouncer of its pools. */
import type { StackValues } from "../../stacks/outputs.ts";
import { currentPrimary } from "../lib/cluster.ts";
import { poolStates } from "../lib/pooler.ts";
import { run } from "../lib/run.ts";
import type { Findings } from "./findings.ts";

interface DockerStats {
  /** Of one CPU: `130.25%`. */
  readonly CPUPerc: string;
  /** Of its limit. */
  readonly MemPerc: string;
}

/** `docker stats` looks for a second by itself. */
async function containerLoad(values: StackValues, findings: Findings): Promise<void> {
  const primary = await currentPrimary(values);
  const [stats, disk] = await Promise.all([
    run("docker", ["stats", "--no-stream", "--format", "{{json .}}", primary.container], { timeoutMs: 15_000 }),
    run("docker", ["exec", primary.container, "df", "--output=pcent", "/var/lib/postgresql"], { timeoutMs: 15_000 }),
  ]);
  const how = `docker stats of ${primary.name}, a moment ago`;
  if (stats.code === 0) {
    const { CPUPerc, MemPerc } = JSON.parse(stats.stdout.trim().split("\n")[0] ?? "{}") as DockerStats;
    findings.measured("cpuShare", parseFloat(CPUPerc) / 100 / primary.cpus, how);
    findings.measured("memoryShare", parseFloat(MemPerc) / 100, how);
  } else {
    for (const metric of ["cpuShare", "memoryShare"] as const) findings.lacks(metric, "docker stats does not answer");
  }
  const used = parseFloat(disk.stdout.trim().split("\n").at(-1) ?? "");
  if (disk.code === 0 && Number.isFinite(used)) findings.measured("diskShare", used / 100, "df of Docker's disk");
  else findings.lacks("diskShare", "df in the primary's container does not answer");
}

async function poolLoad(values: StackValues, findings: Findings): Promise<void> {
  if (!values.pool) {
    findings.lacks("poolShare", "this stage has no pool");
    return;
  }
  const { poolSize, reserveSize } = values.pool;
  const pools = await poolStates(values);
  if (pools.length === 0) {
    findings.lacks("poolShare", "no pooler answers, or nobody has used one yet");
    return;
  }
  // A pooler's cap is on what all users together have on a database.
  const used = Map.groupBy(pools, ({ pooler, database }) => `${pooler} ${database}`).values();
  const fullest = Math.max(
    ...[...used].map((group) => group.reduce((sum, { serversActive }) => sum + serversActive, 0)),
  );
  findings.measured("poolShare", fullest / (poolSize + reserveSize), "PgBouncer's fullest pool, a moment ago");
}

export async function readDocker(values: StackValues, findings: Findings): Promise<void> {
  await Promise.all([containerLoad(values, findings), poolLoad(values, findings)]);
}
