/** The guide's Ecto configuration (Stage 2 › Step 5, Performance › Connection Pool Tuning) for one stack. */
import { APP_POOLS, APP_QUEUE } from "../../stacks/guide.ts";

/** One repo. Prepared statements keep their names: PgBouncer follows them (max_prepared_statements). */
const repo = (name: string, url: string, poolSize: number, readOnly: boolean): string => {
  const { hostname, port, username, password, pathname, searchParams } = new URL(url);
  const lines = [
    `hostname: "${hostname}"`,
    `port: ${port}`,
    `username: "${username}"`,
    `password: "${password}"`,
    `database: "${pathname.slice(1)}"`,
    `ssl: [cacertfile: "${searchParams.get("sslrootcert") ?? ""}", verify: :verify_peer, server_name_indication: ~c"${hostname}"]`,
    `prepare: :named`,
    `pool_size: ${poolSize}`,
    `queue_target: ${APP_QUEUE.value.targetMs}`,
    `queue_interval: ${APP_QUEUE.value.intervalMs}`,
    ...(readOnly ? ["read_only: true"] : []),
  ];
  return `config :cgraph, ${name},\n${lines.map((line) => `  ${line}`).join(",\n")}`;
};

/** Elixir source for config/runtime.exs. Holds passwords. */
export function ectoConfig(stack: string, env: Readonly<Record<string, string>>): string {
  const repos = [repo("CGraph.Repo", env["DATABASE_URL"] ?? "", APP_POOLS.primary.value, false)];
  const replica = env["DATABASE_REPLICA_URL"];
  if (replica !== undefined) repos.push(repo("CGraph.RepoReplica", replica, APP_POOLS.replica.value, true));
  return `# CGraph on stack ${stack}. CGraph.RepoReplica is read_only in its module too: use Ecto.Repo, read_only: true\nimport Config\n\n${repos.join("\n\n")}`;
}
