import { EXIT, UserError } from "../../tuning/errors.ts";
import { confirm } from "../lib/ask.ts";
import { clusterMembers, isLeader, isServing, patroni } from "../lib/cluster.ts";
import { clusterView, poolsOf } from "../lib/clusters.ts";
import { lockStack } from "../lib/lock.ts";
import { print, printJson } from "../lib/print.ts";
import { step } from "../lib/progress.ts";
import { openStack, stackValues } from "../lib/stack.ts";
import { awaitRoute, chooseCandidate, isRunning, requireCluster, switchover } from "../lib/switchover.ts";

export interface SwitchoverFlags {
  readonly stack: string;
  readonly to?: string;
  readonly cluster?: string;
  readonly yes?: boolean;
  readonly json?: boolean;
}

/** `switchover`: hands the writes to a replica; clients of the pools wait for a moment. */
export async function runSwitchover(flags: SwitchoverFlags): Promise<void> {
  const lock = lockStack(flags.stack, "switchover");
  try {
    const view = clusterView(await stackValues(await openStack(flags.stack)), {
      cluster: flags.cluster,
      server: flags.to,
    });
    const done = await switchover(view.values, flags.to, poolsOf(view));
    if (flags.json) printJson({ stack: flags.stack, ...done });
    else print(`${done.to} takes the writes now; ${done.from} follows it.`);
  } finally {
    lock.release();
  }
}

/** `failover`: makes a replica primary where the primary is lost and Patroni has not done it by itself. */
export async function runFailover(flags: SwitchoverFlags): Promise<void> {
  const lock = lockStack(flags.stack, "failover");
  try {
    const { values } = clusterView(await stackValues(await openStack(flags.stack)), {
      cluster: flags.cluster,
      server: flags.to,
    });
    requireCluster(values);
    const members = await clusterMembers(values);
    const leader = members.find(isLeader);
    if (leader && isServing(leader)) {
      throw new UserError(
        `${leader.name} is primary and healthy: a failover could lose its newest writes`,
        `to hand over without loss: ./cgraph-db switchover --stack ${flags.stack}`,
        EXIT.refused,
      );
    }
    const candidate = chooseCandidate(members, flags.to, isRunning);
    await confirm(
      `This makes ${candidate.name} primary. Writes that the lost primary had not sent to it stay behind.`,
      "yes",
      flags.yes === true,
    );
    const container = values.nodes.find(({ name }) => name === candidate.name)?.container ?? "";
    await step(`failover to ${candidate.name}`, async () => {
      const { status, text } = await patroni(container, "POST", "/failover", { candidate: candidate.name }, 60);
      if (status !== 200) {
        throw new UserError(`Patroni did not fail over: ${text || status}`, "see ./cgraph-db status", EXIT.failed);
      }
      await awaitRoute(values, candidate.name);
      return { value: undefined, done: "done" };
    });
    if (flags.json) printJson({ stack: flags.stack, to: candidate.name });
    else print(`${candidate.name} takes the writes now.`);
  } finally {
    lock.release();
  }
}
