import { GATEWAY, namedIn, placesOf } from "../../components/docker/regionRoutes.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, type ExitCode, UserError } from "../../tuning/errors.ts";
import { confirm } from "../lib/ask.ts";
import { lockStack } from "../lib/lock.ts";
import { bytes, print, printJson, table } from "../lib/print.ts";
import { note } from "../lib/progress.ts";
import { anyStackValues, openStack, stackValues } from "../lib/stack.ts";
import { writeStackConfig } from "../lib/stackConfig.ts";
import { type Journal, openJournal } from "../migrate/journal.ts";
import { planPromotion, promote, regionNamed, settledStates } from "../regions/promote.ts";
import {
  type PastPromotion,
  agreed,
  askAgent,
  lacking,
  lostBytes,
  passage,
  regionNames,
  regionStates,
  regionTable,
} from "../regions/states.ts";

export interface RegionFlags {
  readonly stack: string;
  readonly dryRun?: boolean;
  readonly force?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

/** A stack in Docker that has several regions. Throws a UserError where it has one. */
function inRegions(stack: string, values: StackValues): StackValues {
  if (values.regions) return values;
  throw new UserError(
    `stack ${stack} has one region`,
    `name more: ./cgraph-db config set regions '["us-east-1", "eu-west-1", "ap-southeast-1"]', then ./cgraph-db up`,
  );
}

/** `region list`: where the primary is, how far the others are, and what earlier promotions have lost. */
export async function listRegions(flags: RegionFlags): Promise<ExitCode> {
  const found = await anyStackValues(await openStack(flags.stack));
  if (found.target === "aws") return (await import("../aws/regions.ts")).listRegionsAws(flags, found);
  const values = inRegions(flags.stack, found);
  const states = await regionStates(values);
  const answering = values.regions?.all.find(({ name }) => states.some((one) => one.name === name && one.state));
  const history = answering ? await askAgent<PastPromotion[]>(answering.agent, "history").catch(() => []) : [];
  if (flags.json) {
    printJson({
      stack: flags.stack,
      primary: agreed(states) ?? null,
      regions: states.map(({ name, state }) => ({ name, lackingBytes: lacking(states, name), state })),
      promotions: history.map((past) => ({ ...past, lostBytes: lostBytes(past) })),
    });
    return EXIT.done;
  }
  print(regionTable(values, states));
  if (history.length === 0) return EXIT.done;
  print(
    table([
      ["promotion", "to", "at", "lost"],
      ...history.map((past) => {
        const lost = lostBytes(past);
        const unknown = past.promoted ? "unknown until the region before it is back" : "";
        return [
          ...[`epoch ${past.epoch}`, past.promoted?.region ?? "", past.promoted?.at ?? "under way"],
          lost === null ? unknown : bytes(lost),
        ];
      }),
    ]),
  );
  return EXIT.done;
}

/** What a promotion means for a move that is under way. */
const duringMove = ({ kind, from, to }: Journal, comesHome: boolean, home: string): string =>
  `the stack is in the middle of a move from ${from} to ${to}: ./cgraph-db ${kind} --resume or --rollback ${comesHome ? "goes on then" : `is possible when the primary is in ${home} again`}`;

/** `region promote`: the primary moves to another region. On AWS it lists what a person calls, and changes nothing. */
export async function promoteRegion(region: string, flags: RegionFlags): Promise<ExitCode> {
  const found = await anyStackValues(await openStack(flags.stack));
  if (found.target === "aws") return (await import("../aws/regions.ts")).promoteRegionAws(region, flags, found);
  const lock = lockStack(flags.stack, "region promote");
  try {
    const values = inRegions(flags.stack, found);
    regionNamed(values, region);
    const began = performance.now();
    const states = flags.force ? await regionStates(values) : await settledStates(values, region);
    const plan = planPromotion(values, states, region, flags.force === true);
    const settledSeconds = (performance.now() - began) / 1000;
    const [home = region] = regionNames(values);
    const move = openJournal(flags.stack);
    if (move && region !== home && plan.planned) {
      throw new UserError(
        `stack ${flags.stack} is in the middle of a move from ${move.from} to ${move.to}, which works while the primary is in ${home}`,
        `finish it first: ./cgraph-db ${move.kind} --resume, or --rollback`,
        EXIT.refused,
      );
    }
    if (move) note(`  note: ${duringMove(move, region === home, home)}`);
    for (const warning of plan.warnings) note(`  note: ${warning}`);
    const does = plan.planned
      ? `This moves the writes from ${plan.from.region} to ${region}. Clients of the pools wait; others lose their connections.`
      : `This makes ${region} the primary's region. What ${plan.from.region} wrote and had not sent there stays behind.`;
    if (flags.dryRun === true) {
      const { planned, warnings } = plan;
      if (flags.json) printJson({ stack: flags.stack, from: plan.from.region, to: region, planned, warnings });
      else print(does);
      return EXIT.done;
    }
    await confirm(does, "yes", flags.yes === true);
    const promoted = await promote(values, plan);
    const done = { ...promoted, seconds: promoted.seconds + settledSeconds };
    writeStackConfig(flags.stack, { primaryRegion: region });
    if (flags.json) {
      printJson({ stack: flags.stack, ...done });
      return EXIT.done;
    }
    const lost = done.lostBytes === null ? `unknown until ${done.from} is back` : bytes(done.lostBytes);
    print(`${region} takes the writes, ${done.seconds.toFixed(1)} s after the command. Lost: ${lost}.`);
    return EXIT.done;
  } finally {
    lock.release();
  }
}

/**
 * `region cut` and `region heal`, in Docker: ends all connections between a region, or the arbiter, and the others, or lets
 * them be again.
 */
export async function cutRegion(region: string, how: "cut" | "heal", flags: RegionFlags): Promise<void> {
  const values = inRegions(flags.stack, await stackValues(await openStack(flags.stack)));
  const places = placesOf(regionNames(values));
  const place = places.find(({ name }) => name === region);
  if (!place) {
    throw new UserError(`there is no region ${region}`, `use one of ${places.map(({ name }) => name).join(", ")}`);
  }
  const own = values.services.find(({ name }) => name === namedIn(place)(GATEWAY));
  const others = places.flatMap(({ name }) => (name === region ? [] : [name]));
  const gateways = values.services.filter(({ kind }) => kind === "gateway");
  // Both ways: the region's own gateway leads to all others, each of theirs to it.
  const done = await Promise.all(
    gateways.flatMap(({ container }) =>
      (container === own?.container ? others : [region]).map((place) => passage(container, how, place)),
    ),
  );
  if (done.includes(false)) {
    throw new UserError(`a gateway did not ${how} its connections`, "see ./cgraph-db status", EXIT.failed);
  }
  print(how === "cut" ? `${region} is cut off from the other regions.` : `${region} reaches the other regions again.`);
}
