/** One stack on AWS that the real plugin plans; only what would call AWS is answered by the stand-in (scripts/offline). */
import type { EngineEvent } from "@pulumi/pulumi/automation/index.js";
import type { Change } from "../../migration/change.ts";
import { changeOf } from "../../scripts/lib/plan.ts";
import type { Planned } from "../../scripts/lib/policy.ts";
import { type OfflineStack, withOfflineStack } from "../../scripts/offline/workspace.ts";

export interface Resource extends Planned {
  readonly name: string;
  readonly id?: string;
  readonly provider?: string;
  readonly retainOnDelete?: boolean;
  readonly outputs: Readonly<Record<string, unknown>>;
}

/** A resource as a stack's export has it. */
export interface Exported extends Omit<Resource, "protect" | "name"> {
  readonly protect?: boolean;
}

export interface OfflineAws {
  readonly stack: OfflineStack["stack"];
  /** Sets keys of the configuration; those that it had before stay. */
  readonly configure: (values: Readonly<Record<string, string>>) => Promise<void>;
  /** `refused`: whether it is a plan that Pulumi itself refuses, since protected resources would go. */
  readonly plan: (refused?: boolean) => Promise<{ changes: Change[]; warnings: string[] }>;
  readonly resources: () => Promise<Resource[]>;
  readonly close: () => Promise<void>;
}

/** Opens a stack of this name with nothing in it; it is gone when it is closed. */
export async function openOfflineAws(name: string): Promise<OfflineAws> {
  let finished = (): void => undefined;
  const done = new Promise<void>((resolve) => (finished = resolve));
  let closed: Promise<unknown> = Promise.resolve();
  const { stack, configure } = await new Promise<OfflineStack>((opened, failed) => {
    closed = withOfflineStack(name, async (made) => {
      opened(made);
      await done;
    });
    closed.catch(failed);
  });
  return {
    stack,
    configure: (values) => configure({ target: "aws", ...values }),
    plan: async (refused = false) => {
      const changes: Change[] = [];
      const warnings: string[] = [];
      const onEvent = (event: EngineEvent): void => {
        const change = changeOf(event);
        if (change) changes.push(change);
        const { severity, message } = event.diagnosticEvent ?? {};
        if (message !== undefined && (severity === "warning" || severity === "error")) warnings.push(message);
      };
      const planned = stack.preview({ onEvent });
      await (refused ? planned.catch(() => undefined) : planned);
      return { changes, warnings };
    },
    resources: async () => {
      const { resources: made } = (await stack.exportStack()).deployment as { resources: Exported[] };
      return made.map((one) => ({
        ...one,
        name: one.urn.split("::").at(-1) ?? "",
        protect: Boolean(one.protect),
      }));
    },
    close: async () => {
      finished();
      await closed;
    },
  };
}

/** The inputs of a resource. Throws where there is none of that type and name. */
export function inputsOf(all: readonly Resource[], type: string, name: string): Readonly<Record<string, unknown>> {
  const found = all.find((one) => one.type === type && one.name === name);
  if (!found) throw new Error(`no ${type} ${name}`);
  return found.inputs;
}
