import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, it } from "vitest";
import { Credentials } from "../../components/Credentials.ts";
import { loginVerifiers, serverRoles } from "../../components/logins.ts";
import { ROLE_NAMES, type RoleName, rolesSql } from "../../components/roles.ts";

interface Made {
  readonly type: string;
  readonly name: string;
}

const made: Made[] = [];
const protectedOnes = new Map<string, boolean>();

beforeAll(() =>
  pulumi.runtime.setMocks(
    {
      newResource: ({ type, name, inputs }) => {
        made.push({ type, name });
        return { id: name, state: { ...(inputs as object), result: `secret of ${name}` } };
      },
      call: ({ inputs }) => inputs as Record<string, unknown>,
    },
    "cgraph",
    "unit",
  ),
);

/** What the component makes with these generations: the passwords by whether they are protected, and its values. */
async function credentials(generations: number[]) {
  made.length = 0;
  protectedOnes.clear();
  let values: { sql: string; passwords: unknown; other: unknown } | undefined;
  await pulumi.runtime.runInPulumiStack(async () => {
    pulumi.runtime.registerStackTransformation(({ name, opts, props }) => {
      protectedOnes.set(name, opts.protect === true);
      return { props, opts };
    });
    const component = new Credentials("credentials", { cache: true, administrator: true, generations });
    await new Promise<void>((resolve) => {
      pulumi
        .all([component.rolesSql, component.passwords, component.otherPasswords])
        .apply(([sql, passwords, other]) => {
          values = { sql, passwords, other };
          resolve();
        });
    });
    return {};
  });
  const names = made
    .filter(({ type }) => type.endsWith(":RandomPassword"))
    .map(({ name }) => name)
    .sort();
  return { names, kept: names.filter((name) => protectedOnes.get(name) === true), ...values };
}

const OTHERS = ["cache", "administrator"];
const ofGeneration = (generation: number): string[] =>
  [...ROLE_NAMES, ...OTHERS].map((name) => `password-${name}${generation === 1 ? "" : `-${generation}`}`);
const passwords = (generation: number) =>
  Object.fromEntries(
    ROLE_NAMES.map((role) => [role, `secret of password-${role}${generation === 1 ? "" : `-${generation}`}`]),
  ) as Record<RoleName, string>;

describe("a stack's generated secrets", () => {
  it("have the names that they always had, before the first rotation", async () => {
    const { names, kept, other } = await credentials([1]);
    expect(names).toEqual([...ofGeneration(1), "backup-key"].sort());
    expect(kept).toEqual(names);
    expect(other).toBeNull();
  });

  it("are protected while they are accepted, both generations of them", async () => {
    for (const generations of [
      [1, 2],
      [2, 1],
    ]) {
      const found = await credentials(generations);
      expect(found.names).toEqual([...ofGeneration(1), ...ofGeneration(2), "backup-key"].sort());
      expect(found.kept).toEqual(found.names);
      const both = generations.map(passwords);
      expect([found.passwords, found.other]).toEqual(both);
      expect(found.sql).toBe(rolesSql(serverRoles(generations), loginVerifiers(generations, both)));
    }
  });

  it("lose their protection when they are refused, and go with the next rotation; the backup key stays", async () => {
    const after = await credentials([2]);
    expect(after.names.filter((name) => !after.kept.includes(name)).sort()).toEqual(ofGeneration(1).sort());
    expect(after.kept).toContain("backup-key");
    const next = await credentials([2, 3]);
    expect(next.names).toEqual([...ofGeneration(2), ...ofGeneration(3), "backup-key"].sort());
    expect(next.kept).toEqual(next.names);
  });
});
