import { readFileSync, readdirSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Change, type StepMetadata, changeOfStep } from "../../migration/change.ts";
import { leavingOf } from "../../migration/leaving.ts";
import { effectOf, verdictOf } from "../../migration/verdict.ts";
import { ROOT } from "../../scripts/lib/paths.ts";
import { AWS_SCENARIOS } from "../corpus/awsScenarios.ts";
import { DOCKER_SCENARIOS } from "../corpus/dockerScenarios.ts";
import { type Entry, nameOfStep } from "../corpus/scenario.ts";

/** Diffs that the real plugins said (test/corpus/record.ts), and what they mean, decided by hand. */
const FOLDER = join(import.meta.dirname, "..", "corpus");
const texts = (["aws", "docker"] as const).flatMap((target) =>
  readdirSync(join(FOLDER, target)).map((file) => readFileSync(join(FOLDER, target, file), "utf8")),
);
const entries = texts.map((text) => JSON.parse(text) as Entry);
const titled = entries.map((entry) => [`${entry.target}: ${entry.changed} (${entry.name})`, entry] as const);

const changesOf = (steps: readonly StepMetadata[]): Change[] =>
  steps.map(changeOfStep).filter((change) => change !== undefined);

describe("the corpus", () => {
  it("has an entry for every scenario, as it was decided, and no other", () => {
    const ofTarget = (target: string, scenarios: typeof AWS_SCENARIOS) =>
      scenarios.map(({ name, about, expected }) => ({ target, name, about, expected }));
    const byName = (a: { target: string; name: string }, b: { target: string; name: string }): number =>
      `${a.target} ${a.name}`.localeCompare(`${b.target} ${b.name}`);
    expect(
      entries.map(({ target, name, about, expected }) => ({ target, name, about, expected })).sort(byName),
    ).toEqual([...ofTarget("aws", AWS_SCENARIOS), ...ofTarget("docker", DOCKER_SCENARIOS)].sort(byName));
  });

  it("is at least sixty diffs, of both targets and all stages", () => {
    expect(entries.length).toBeGreaterThanOrEqual(60);
    expect(new Set(entries.map(({ target, stage }) => `${target} ${stage}`)).size).toBe(6);
  });

  it("has no secret and no path of a machine in it", () => {
    for (const text of texts) {
      for (const path of [ROOT, homedir(), tmpdir()]) expect(text).not.toContain(`"${path}`);
      expect(text).not.toMatch(/BEGIN|SCRAM-SHA-256|cgraph-test-/);
    }
  });
});

const decided = (filter: (expected: Entry["expected"]) => boolean) =>
  titled.filter(([, { expected }]) => filter(expected));

it.each(titled)("%s is classified as it was decided", (_, { about, steps, expected }) => {
  const changes = changesOf(steps);
  expect(verdictOf(changes)).toBe(expected.verdict);
  if (expected.happens === null) {
    expect(steps).toEqual([]);
    return;
  }
  const [[first], [change]] = [steps, changes];
  expect(first && nameOfStep(first)).toBe(about);
  expect(change && effectOf(change)).toMatchObject({ happens: expected.happens, clients: expected.clients });
});

it.each(decided(({ unsafe }) => unsafe))("%s is refused: data would be lost", (_, { steps }) => {
  expect(verdictOf(changesOf(steps))).toBe("unsafe");
});

it.each(decided(({ mayLeave }) => mayLeave === true))("%s leaves copies only", (_, { steps }) => {
  const { may, mustNot } = leavingOf(changesOf(steps));
  expect(mustNot).toEqual([]);
  expect(may.length).toBeGreaterThan(0);
});

describe("whatever else changes", () => {
  const stateful = entries.flatMap(({ name, steps }) =>
    changesOf(steps)
      .filter((change) => change.stateful && change.op !== "create")
      .map((change) => [`${name}: ${change.type}`, change] as const),
  );

  it.each(stateful)("an input that nobody knows, of what holds data, is never nothing (%s)", (_, change) => {
    const unknown = { path: "inventedYesterday", kind: "update", replaces: false } as const;
    for (const properties of [[unknown], [...change.properties, unknown]]) {
      expect(effectOf({ ...change, op: "update", properties }).clients).not.toBe("nothing");
      expect(verdictOf([{ ...change, op: "update", properties }])).not.toBe("safe");
    }
  });

  it("covers every kind of resource that holds data", () => {
    expect(new Set(stateful.map(([, { type }]) => type.split(":").at(-1)))).toEqual(
      new Set(["Instance", "Key", "RandomId", "RandomPassword", "Secret", "Volume"]),
    );
  });

  it.each(
    entries.filter(({ expected }) => expected.unsafe).map(({ name, target, steps }) => [target, name, steps] as const),
  )("harmless changes beside it do not hide what is unsafe (%s %s)", (_target, _name, steps) => {
    const harmless = entries.filter(({ expected }) => expected.verdict === "safe").flatMap((entry) => entry.steps);
    expect(verdictOf(changesOf([...harmless, ...steps]))).toBe("unsafe");
  });
});
