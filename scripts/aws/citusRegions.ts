/** `region list` at stage 5 on AWS: every region's nodes, and how far those that follow are behind. */
import { OWN_NAMESPACE } from "../../stacks/aws/ownNamespace.ts";
import type { AwsCitusOutput, AwsStackValues } from "../../stacks/aws/outputs.ts";
import { EXIT, type ExitCode } from "../../tuning/errors.ts";
import type { RegionFlags } from "../commands/region.ts";
import { print, printJson, table } from "../lib/print.ts";
import { hasAwsCli } from "./cli.ts";
import { newestFigure } from "./figures.ts";

export async function listCitusRegions(
  flags: RegionFlags,
  values: AwsStackValues,
  citus: AwsCitusOutput,
): Promise<ExitCode> {
  const mayAsk = await hasAwsCli();
  const regions = [
    { region: values.region, home: true, nodes: values.nodes, writes: citus.home?.write ?? values.endpoints.write },
    ...(citus.regions ?? []).map(({ name, nodes, write }) => ({ region: name, home: false, nodes, writes: write })),
  ];
  const told = await Promise.all(
    regions.map(async (one) => ({
      ...one,
      nodes: await Promise.all(
        one.nodes.map(async (node) => ({
          ...node,
          behindSeconds:
            one.home || !mayAsk
              ? null
              : await newestFigure(one.region, {
                  ...{ namespace: OWN_NAMESPACE, metric: "behind_seconds", statistic: "Maximum" },
                  dimensions: { Stack: flags.stack, Cluster: node.cluster ?? "" },
                }),
        })),
      ),
    })),
  );
  if (flags.json === true) {
    printJson({ stack: flags.stack, regions: told, nearest: citus.nearest ?? null });
    return EXIT.done;
  }
  print(
    table([
      ["region", "server", "role", "behind", "address", "instance"],
      ...told.flatMap(({ region, nodes }) =>
        nodes.map((node) => [
          ...[region, node.name, node.role],
          ...[node.behindSeconds === null ? "" : `${node.behindSeconds.toFixed(0)} s`, node.host, node.identifier],
        ]),
      ),
    ]),
  );
  for (const { region, writes } of told) print(`${region}: ${writes.host}:${writes.port}`);
  if (citus.nearest) print(`nearest: ${citus.nearest.host}:${citus.nearest.port}`);
  if (!mayAsk) print("how far they are behind: install the AWS CLI to see it");
  return EXIT.done;
}
