/** How long a stage takes from nothing, images present, and what of it is ours beside a bare server of the same image. */
import { command, docker, named } from "./docker.ts";
import type { Report } from "./report.ts";
import { withStack } from "./stack.ts";

export interface StartOptions {
  readonly runs: number;
  readonly onProgress: (text: string) => void;
}

const STAGES = [
  { stage: 1, limit: undefined },
  { stage: 2, limit: 60 },
  { stage: 3, limit: 90 },
] as const;

/** Seconds of `docker run` until a new cluster of the same image answers. */
async function bareServer(image: string): Promise<number> {
  const name = named("bare-start");
  const began = performance.now();
  const script = "initdb -D /tmp/data --data-checksums >/dev/null && exec postgres -D /tmp/data";
  await docker(["run", "--detach", "--name", name, "--user", "postgres", "--entrypoint", "sh", image, "-euc", script]);
  try {
    while (
      !(await command("docker", ["exec", name, "pg_isready", "--quiet"]).then(
        () => true,
        () => false,
      ))
    ) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return (performance.now() - began) / 1000;
  } finally {
    await docker(["rm", "--force", name]);
  }
}

/** `bench start`: each stage, and the bare server, in turn. */
export async function benchStart({ runs, onProgress }: StartOptions): Promise<Report> {
  const stages = new Map<number, number[]>();
  const bare: number[] = [];
  const over: number[] = [];
  for (let round = 1; round <= runs; round++) {
    for (const { stage } of STAGES) {
      const [took, image] = await withStack({ stage }, async ({ values, upSeconds }) => [
        upSeconds,
        values.nodes[0]?.image,
      ]);
      stages.set(stage, [...(stages.get(stage) ?? []), took]);
      onProgress(`round ${round}, stage ${stage}: ${took.toFixed(1)} s`);
      if (stage === 1 && image !== undefined) {
        bare.push(await bareServer(image));
        over.push(took - (bare.at(-1) ?? 0));
        onProgress(`round ${round}, docker run of the same image: ${bare.at(-1)?.toFixed(1)} s`);
      }
    }
  }
  return {
    name: "start",
    title: "From nothing to a stage that serves",
    date: new Date().toISOString(),
    method: [
      "`./cgraph-db up` of a new stack, images present, until its last server is in step, in turn with `docker run` of the same image, initdb included, until it answers.",
    ],
    panels: [
      {
        title: "Seconds of stage 1 over docker run of the same image",
        unit: "s",
        limit: 6,
        groups: [{ title: "stage 1", series: [{ name: "up less docker run", values: over }] }],
      },
      {
        title: "Seconds from nothing",
        unit: "s",
        limit: 90,
        groups: [
          { title: "docker run", series: [{ name: "bare server", values: bare }] },
          ...STAGES.map(({ stage, limit }) => ({
            title: `stage ${stage}${limit === undefined ? "" : `, limit ${limit}`}`,
            series: [{ name: "up", values: stages.get(stage) ?? [] }],
          })),
        ],
      },
    ],
    facts: {},
  };
}
