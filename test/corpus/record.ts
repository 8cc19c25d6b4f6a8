/**
 * Records the corpus anew: `node test/corpus/record.ts docker|aws [NAME …]`, with Node 24, after `./cgraph-db setup`
 * (`--target aws` for aws). By hand, when a plugin's version or a component changes; it takes ten minutes, and nothing
 * but test/unit/corpus.test.ts reads what it writes. `node test/corpus/record.ts decisions` records nothing: it writes
 * what is decided of each scenario into its file.
 *
 * Each scenario is a stack as it is, and a preview of one change to it, by the real plugins. Docker: real stacks, removed
 * at the end. AWS: the real plugin behind the stand-in of scripts/offline. Of every step that does something a file keeps
 * what differs and what the classifier reads, with this machine's names, paths and ids taken out. What the change means
 * is not recorded: it stands in dockerScenarios.ts and awsScenarios.ts, decided by hand.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EngineEvent, Stack } from "@pulumi/pulumi/automation/index.js";
import * as pulumi from "@pulumi/pulumi";
import { format } from "prettier";
import { changeOfStep, type StepMetadata } from "../../migration/change.ts";
import { configCopy } from "../../scripts/lib/configCopy.ts";
import { ROOT } from "../../scripts/lib/paths.ts";
import { openStack } from "../../scripts/lib/stack.ts";
import { readStackConfig } from "../../scripts/lib/stackConfig.ts";
import { withOfflineStack } from "../../scripts/offline/workspace.ts";
import { program } from "../../stacks/program.ts";
import { cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { AWS_SCENARIOS } from "./awsScenarios.ts";
import { DOCKER_SCENARIOS } from "./dockerScenarios.ts";
import { type Machine, normalised, reduced } from "./reduce.ts";
import { type Altered, type Entry, type Scenario, nameOf, nameOfStep } from "./scenario.ts";

/** The program with other inputs of its resources. */
const altered =
  (...changes: readonly (Altered | undefined)[]) =>
  (): ReturnType<typeof program> => {
    pulumi.runtime.registerStackTransformation(({ type, name, props, opts }) => {
      let inputs = props as Record<string, unknown>;
      for (const change of changes) inputs = { ...inputs, ...change?.[nameOf(type, name)]?.(inputs) };
      return { props: inputs, opts };
    });
    return program();
  };

/** What a preview says would be done. That something protected would go is an error to Pulumi, and what was asked for. */
async function previewed(stack: Stack, scenario: Scenario, configFile?: string): Promise<StepMetadata[]> {
  const steps: StepMetadata[] = [];
  const problems: string[] = [];
  const onEvent = (event: EngineEvent): void => {
    const metadata = event.resourcePreEvent?.metadata;
    if (metadata && changeOfStep(metadata)) steps.push(metadata);
    if (event.diagnosticEvent?.severity === "error") problems.push(event.diagnosticEvent.message);
  };
  const run = stack.preview({
    program: altered(scenario.before?.inputs, scenario.change.inputs),
    onEvent,
    ...(configFile === undefined ? {} : { configFile }),
  });
  await run.catch((error: unknown) => {
    if (!problems.some((text) => /protect/.test(text))) throw error;
  });
  return steps;
}

const fileOf = (target: string, name: string): string => join(import.meta.dirname, target, `${name}.json`);

async function writeEntry(entry: Entry): Promise<void> {
  // What the entry is about comes first: who reads it need not search.
  const isAbout = (step: StepMetadata): number => Number(nameOfStep(step) === entry.about);
  const steps = entry.steps.toSorted((a, b) => isAbout(b) - isAbout(a));
  const text = await format(JSON.stringify({ ...entry, steps }), { parser: "json", printWidth: 120 });
  writeFileSync(fileOf(entry.target, entry.name), text);
}

/** Writes what is decided into the files that are there. */
async function writeDecisions(target: Entry["target"], scenarios: readonly Scenario[]): Promise<void> {
  for (const { name, stage, changed, about, expected } of scenarios) {
    const { steps } = JSON.parse(readFileSync(fileOf(target, name), "utf8")) as Entry;
    await writeEntry({ name, target, stage, changed, about, expected, steps });
  }
}

async function write(target: Entry["target"], scenario: Scenario, steps: StepMetadata[], machine: Machine) {
  const { name, stage, changed, about, expected } = scenario;
  const small = steps.map(reduced).filter((step) => step !== undefined);
  if (!small.some((step) => nameOfStep(step) === about) && expected.happens !== null) {
    console.error(`${name}: no step of ${about}; there are ${small.map(nameOfStep).join(", ")}`);
    process.exitCode = 1;
  }
  await writeEntry({ name, target, stage, changed, about, expected, steps: normalised(small, machine) });
  console.log(`${target} ${name}: ${small.map((step) => `${step.op} ${nameOfStep(step)}`).join(", ")}`.slice(0, 400));
}

/** Scenarios by the stack that they begin from. */
function byBeginning(scenarios: readonly Scenario[]): Map<string, Scenario[]> {
  const groups = new Map<string, Scenario[]>();
  for (const scenario of scenarios) {
    const { stage, before } = scenario;
    // Functions cannot be compared: where a stack is altered beforehand, it is the scenario's own.
    const key = JSON.stringify([stage, before?.config ?? {}, before?.inputs ? scenario.name : ""]);
    groups.set(key, [...(groups.get(key) ?? []), scenario]);
  }
  return groups;
}

async function recordAws(scenarios: readonly Scenario[]): Promise<void> {
  const machine = { stack: "test-corpus", root: ROOT, baseImage: "debian:trixie-slim", port: undefined };
  for (const group of byBeginning(scenarios).values()) {
    const [{ stage, before } = { stage: 1, before: undefined }] = group;
    const settings = { target: "aws", stage: String(stage), ...before?.config };
    await withOfflineStack(machine.stack, async ({ stack, configure }) => {
      await configure(settings);
      await stack.up({ program: altered(before?.inputs) });
      for (const scenario of group) {
        await configure({ ...settings, ...scenario.change.config });
        await write("aws", scenario, await previewed(stack, scenario), machine);
        const touched = Object.keys(scenario.change.config ?? {}).filter((key) => !(key in settings));
        for (const key of touched) await stack.removeConfig(`cgraph:${key}`);
      }
    });
  }
}

async function recordDocker(scenarios: readonly Scenario[]): Promise<void> {
  for (const group of byBeginning(scenarios).values()) {
    const [{ stage, before } = { stage: 1, before: undefined }] = group;
    const name = uniqueStack();
    const port = await freePort();
    try {
      await setConfig(name, { stage: String(stage), port: String(port), ...before?.config });
      await cgraphOk("up", "--stack", name, "--no-install");
      const baseImage = readStackConfig(name)["baseImage"] ?? "debian:trixie-slim";
      const stack = await openStack(name);
      for (const scenario of group) {
        const copy = configCopy(name, { ...scenario.change.config });
        const steps = await previewed(stack, scenario, copy.file).finally(copy.remove);
        await write("docker", scenario, steps, { stack: name, root: ROOT, baseImage, port });
      }
    } finally {
      await removeStack(name);
    }
  }
}

const [target, ...names] = process.argv.slice(2);
const wanted = (scenarios: readonly Scenario[]): Scenario[] =>
  scenarios.filter(({ name }) => names.length === 0 || names.includes(name));
if (target === "docker") await recordDocker(wanted(DOCKER_SCENARIOS));
else if (target === "aws") await recordAws(wanted(AWS_SCENARIOS));
else if (target === "decisions") {
  await writeDecisions("docker", wanted(DOCKER_SCENARIOS));
  await writeDecisions("aws", wanted(AWS_SCENARIOS));
} else throw new Error("which: docker, aws or decisions?");
