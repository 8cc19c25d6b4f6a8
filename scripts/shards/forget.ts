/** Clusters that are gone leave nothing in etcd: one of the same name would wait for their leader. */
import { configKey } from "../../components/docker/patroniFiles.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { regionsOf } from "../lib/clusters.ts";
import { docker } from "../lib/docker.ts";

const TLS = "/run/cgraph-tls";

/** Deletes what Patroni has written of clusters by their scopes at home, in every region; when none of their servers runs any more. */
export async function forgetClusters(values: StackValues, scopes: readonly string[]): Promise<void> {
  const others = (regionsOf(values)?.all ?? []).slice(1);
  const places = [
    { name: "etcd0", suffix: "" },
    ...others.map((region) => ({ name: `${region.name}-etcd0`, suffix: `-${region.name}` })),
  ];
  for (const { name, suffix } of places) {
    const etcd = values.services.find((service) => service.name === name);
    if (!etcd) continue;
    for (const scope of scopes) {
      await docker([
        ...["exec", etcd.container, "etcdctl", `--cacert=${TLS}/ca.crt`, `--cert=${TLS}/server.crt`],
        ...[`--key=${TLS}/server.key`, "--endpoints=https://localhost:2379"],
        ...["del", "--prefix", configKey(`${scope}${suffix}`).replace(/[^/]*$/, "")],
      ]);
    }
  }
}
