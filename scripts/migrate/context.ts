/** What the steps of a move share: the stack, its configuration at each stage, what runs. */
import type { EngineEvent, Stack } from "@pulumi/pulumi/automation/index.js";
import type { Change } from "../../migration/change.ts";
import { leavingOf } from "../../migration/leaving.ts";
import type { StackConfig } from "../../stacks/config.ts";
import type { StackValues } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { unprotect } from "../lib/allow.ts";
import { configCopy } from "../lib/configCopy.ts";
import { deploy } from "../lib/deploy.ts";
import { changeOf, changesOf } from "../lib/plan.ts";
import { reconcile, startStopped } from "../lib/reconcile.ts";
import { requireRegionsForMove } from "../regions/reach.ts";
import type { MoveStep } from "./runner.ts";
import { clearForAlone } from "../lib/shrink.ts";
import { stackValues } from "../lib/stack.ts";
import { checkedConfig } from "../lib/stackConfig.ts";

interface BringOptions {
  readonly phase?: "none" | "prepare";
  readonly remember?: (left: readonly string[]) => void;
  /** Only resources whose URN is like this, `**` standing for anything; what depends on them comes with the next run. */
  readonly only?: string;
  /** Configuration beside the stage's. */
  readonly config?: Readonly<Record<string, string>>;
  /** Names of resources that may go although they could hold data: somebody has looked that they do not. */
  readonly mayGo?: (name: string) => boolean;
}

/** One resource that a step has changed: its URN, and what Pulumi calls what it did. */
export interface Changed {
  readonly urn: string;
  readonly op: string;
}

/** What a Pulumi run of a move has done. */
export interface Brought {
  readonly values: StackValues;
  /** Volumes that were let go. */
  readonly left: readonly string[];
  readonly changed: readonly Changed[];
}

export class MoveContext {
  readonly stack: Stack;

  constructor(stack: Stack) {
    this.stack = stack;
  }

  get name(): string {
    return this.stack.name;
  }

  /** The stack's configuration as it would be at a stage. */
  config(stage: number): StackConfig {
    return checkedConfig(this.name, { stage: String(stage) });
  }

  /** A step's work, which is refused while a region is out of reach: it stops there, and goes on when the region is back. */
  inReach(work: MoveStep["run"]): MoveStep["run"] {
    return async (...given) => {
      if (checkedConfig(this.name).regions.others.length > 0) await requireRegionsForMove(await this.values());
      return work(...given);
    };
  }

  /** What runs now, as the last Pulumi run has told it. */
  values(): Promise<StackValues> {
    return stackValues(this.stack);
  }

  /**
   * Brings the stack to a stage, with the configuration from before left as it is. What holds data and may not go is
   * refused; what may is let go of by Pulumi, and stays in Docker until `discard`. `remember` is told of
   * the volumes that are let go before they are.
   */
  async bringTo(
    stage: number,
    { phase = "none", remember, only, config = {}, mayGo }: BringOptions = {},
  ): Promise<Brought> {
    const copy = configCopy(this.name, { ...config, stage: String(stage), phase });
    try {
      const { refresh } = await reconcile(this.stack);
      const left = await this.#release(await changesOf(this.stack, copy.file), mayGo);
      remember?.(left);
      await (stage === 1 ? clearForAlone(this.name) : startStopped(this.stack));
      const changed: Changed[] = [];
      const onEvent = (event: EngineEvent): void => {
        const change = changeOf(event);
        if (change) changed.push({ urn: change.urn, op: change.op });
      };
      const { values } = await deploy(this.stack, {
        ...{ refresh, configFile: copy.file, onEvent },
        ...(only !== undefined && { target: [only] }),
      });
      return { values, left, changed };
    } finally {
      copy.remove();
    }
  }

  /** Takes the protection off what may go. */
  async #release(changes: readonly Change[], mayGo: BringOptions["mayGo"]): Promise<string[]> {
    const { may, mustNot } = leavingOf(changes, mayGo);
    const [first] = mustNot;
    if (first) {
      throw new UserError(
        `the move would ${first.op} ${first.urn.split("::").at(-1)}, which holds data`,
        "see ./cgraph-db preview; nothing was changed",
        EXIT.refused,
      );
    }
    if (may.length === 0) return [];
    await unprotect(this.stack, new Set(may.map(({ urn }) => urn)));
    return may.filter(({ type }) => type === "docker:index/volume:Volume").map(({ before }) => String(before["name"]));
  }
}
