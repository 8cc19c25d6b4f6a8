import { createServer } from "node:net";
import { dockerName } from "../../components/docker/names.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import type { StackConfig } from "../../stacks/config.ts";
import { GUIDE } from "../../stacks/guide.ts";
import { regionPorts } from "../../stacks/regionPlan.ts";
import { EXIT, type ExitCode, UserError } from "../../tuning/errors.ts";
import { allowReplacing } from "../lib/allow.ts";
import { settle } from "../lib/cluster.ts";
import { printableUrl } from "../lib/connection.ts";
import { listLabelled } from "../lib/docker.ts";
import { refuseDuringMove } from "../migrate/journal.ts";
import { lockStack } from "../lib/lock.ts";
import { print, printJson } from "../lib/print.ts";
import { note } from "../lib/progress.ts";
import { reconcile, startStopped } from "../lib/reconcile.ts";
import { checkShrinking, clearForAlone } from "../lib/shrink.ts";
import {
  checkTopology,
  checkedConfig,
  readStackConfig,
  unsetStackConfig,
  writeStackConfig,
} from "../lib/stackConfig.ts";
import { checkStackName } from "../lib/stackFiles.ts";
import { stateValues } from "../lib/state.ts";
import { checkSharding } from "../shards/guard.ts";
import { checkCitus } from "../citus/guard.ts";
import { discardVolumes, releaseRegions } from "../regions/leaving.ts";
import { checkTarget } from "../lib/target.ts";
import { OFFICIAL_BASE } from "../setup/baseImage.ts";
import { requireCitusToBeHad } from "../setup/citusImage.ts";
import { chooseGrafana } from "../setup/grafanaImage.ts";
import { setUp } from "../setup/steps.ts";
import { toxiproxyImage } from "../setup/toxiproxyImage.ts";

export interface UpFlags {
  readonly stack: string;
  readonly stage?: string;
  readonly port?: string;
  readonly target?: string;
  readonly install: boolean;
  readonly allowReplace?: readonly string[];
  readonly yes?: boolean;
  readonly json?: boolean;
}

/** Refuses a port that something else uses, before anything is changed. */
async function checkPort(config: StackConfig, stack: string): Promise<void> {
  const ours = (await listLabelled("container", stack)).length > 0;
  if (ours) return;
  const isFree = (port: number): Promise<boolean> =>
    new Promise((resolve) => {
      const server = createServer()
        .once("error", () => resolve(false))
        .listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
    });
  const { write, read, pool, cache, shards, regions } = config.ports;
  // Two for each cluster beside the first: the global database's and the other shards', or the workers'.
  const beside = config.stage === 4 ? config.sharding.shards : config.stage === 5 ? config.citus.workers : 0;
  const clusters = Array.from({ length: 2 * beside }, (_, index) => shards + index);
  const far = config.regions.others.flatMap((_, index) => {
    const its = regionPorts(regions, index);
    return [its.write, its.read, its.pool];
  });
  for (const port of config.stage === 1
    ? [write]
    : [write, read, pool, ...clusters, ...far, ...(GUIDE[config.stage].cache.value ? [cache] : [])]) {
    if (await isFree(port)) continue;
    throw new UserError(
      `port ${port} on 127.0.0.1 is taken by another program`,
      `stop it, or choose another port: ./cgraph-db up --stack ${stack} --port 15432`,
      EXIT.failed,
    );
  }
}

const hasGrafana = async (stack: string): Promise<boolean> =>
  (await listLabelled("container", stack)).some(({ name }) => name === dockerName(stack, "grafana"));

/** `up`: sets up what is missing, then brings the stack to what its configuration says. */
export async function up(flags: UpFlags): Promise<ExitCode> {
  checkStackName(flags.stack);
  const wanted: Record<string, string> = {
    ...(flags.stage === undefined ? {} : { stage: flags.stage }),
    ...(flags.port === undefined ? {} : { port: flags.port }),
    ...(flags.target === undefined ? {} : { target: flags.target }),
  };
  const lock = lockStack(flags.stack, "up");
  try {
    refuseDuringMove(flags.stack);
    const config = checkedConfig(flags.stack, wanted);
    if (config.target === "aws") {
      const { upAws } = await import("../aws/up.ts");
      return await upAws(flags, { config, changes: { stage: String(config.stage), ...wanted } });
    }
    // The Automation API loads while the set-up waits for other programs.
    const loading = Promise.all([import("../lib/stack.ts"), import("../lib/deploy.ts")]);
    const toolchain = await setUp({ mayInstall: flags.install });
    await checkTopology(config);
    await requireCitusToBeHad(config, readStackConfig(flags.stack)["baseImage"] ?? toolchain.baseImage);
    // A registry that does not answer is waited for while the stack is opened.
    const choosing = chooseGrafana(config.monitoring, () => hasGrafana(flags.stack));
    choosing.catch(() => undefined);
    const [{ openOrCreateStack }, { deploy }] = await loading;
    const stack = await openOrCreateStack(flags.stack, toolchain.pulumi);
    await checkTarget(stack, config);
    allowReplacing(stack, flags.allowReplace);
    const { refresh } = await reconcile(stack);
    await checkPort(config, flags.stack);
    if (
      toolchain.baseImage !== undefined &&
      toolchain.baseImage !== OFFICIAL_BASE &&
      readStackConfig(flags.stack)["baseImage"] === undefined
    ) {
      wanted["baseImage"] = toolchain.baseImage;
    }
    if (config.regions.others.length > 0 && readStackConfig(flags.stack)["toxiproxyImage"] === undefined) {
      wanted["toxiproxyImage"] = await toxiproxyImage();
    }
    const before = (await stateValues(stack)) as StackValues | undefined;
    await checkCitus(stack, before, config);
    await checkSharding(stack, before, config);
    const { grafanaImage } = await choosing;
    if (grafanaImage === null) unsetStackConfig(flags.stack, "grafanaImage");
    else if (grafanaImage !== undefined) wanted["grafanaImage"] = grafanaImage;
    const whole = { stage: String(config.stage), ...wanted };
    const { losses, toAlone } = await checkShrinking(stack, config, whole, flags.allowReplace ?? []);
    const left = await releaseRegions(stack, config, whole);
    writeStackConfig(flags.stack, { stage: String(config.stage), ...wanted });
    if (toAlone) await clearForAlone(flags.stack);
    else if (config.stage > 1) await startStopped(stack);
    const { changes, values } = await deploy(stack, { refresh: refresh || lock.interrupted });
    await discardVolumes(stack, left);
    await settle(values);
    for (const { before } of losses.filter(({ type }) => type === "docker:index/volume:Volume")) {
      const volume = String(before["name"]);
      note(`  note: the stack has let go of the volume ${volume}, which stays in Docker: docker volume rm ${volume}`);
    }
    await report(flags, values, changes);
    return EXIT.done;
  } finally {
    lock.release();
  }
}

async function report(flags: UpFlags, values: StackValues, changes: number): Promise<void> {
  const url = await printableUrl(flags.stack, values, "cgraph", values.endpoints.pool ?? values.endpoints.write);
  for (const text of values.notes) note(`  note: ${text}`);
  if (flags.json) {
    printJson({ stack: flags.stack, stage: values.stage, target: values.target, changes, url });
    return;
  }
  const other = flags.stack === "dev" ? "" : ` --stack ${flags.stack}`;
  print(`Stage ${values.stage} is up. PostgreSQL ${values.postgresVersion}:

  ${url}

  psql                 ./cgraph-db psql${other}
  tables and indexes   ./cgraph-db schema apply${other}
  URLs with passwords  ./cgraph-db env${other}
  keep the keys safe   ./cgraph-db secrets export${other}`);
}
