/** Clusters that are gone leave nothing in etcd: one of the same name would wait for their leader. */
import { configKey } from "../../components/docker/patroniFiles.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { docker } from "../lib/docker.ts";

const TLS = "/run/cgraph-tls";

/** Deletes what Patroni has written of clusters by their scopes; when none of their servers runs any more. */
export async function forgetClusters(values: StackValues, scopes: readonly string[]): Promise<void> {
  const etcd = values.services.find(({ kind }) => kind === "etcd");
  if (!etcd) return;
  for (const scope of scopes) {
    await docker([
      ...["exec", etcd.container, "etcdctl", `--cacert=${TLS}/ca.crt`, `--cert=${TLS}/server.crt`],
      ...[`--key=${TLS}/server.key`, "--endpoints=https://localhost:2379"],
      ...["del", "--prefix", configKey(scope).replace(/[^/]*$/, "")],
    ]);
  }
}
