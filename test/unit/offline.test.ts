import { describe, expect, it } from "vitest";
import { UNKNOWN, fillPlanned } from "../../scripts/offline/fill.ts";

const URN = "urn:pulumi:s::cgraph::cgraph:db:PrimaryDb$aws:rds/instance:Instance::pg0";
const fill = (
  planned: Record<string, unknown>,
  properties: Record<string, { type?: string }> = {},
  inputs: Record<string, unknown> = {},
): Record<string, unknown> => fillPlanned(planned, inputs, URN, properties);

describe("what a plan leaves open", () => {
  it("gets values that look like AWS's where others refer to it, the same each time", () => {
    const properties = { arn: { type: "string" }, address: { type: "string" }, port: { type: "integer" } };
    const planned = { arn: UNKNOWN, address: UNKNOWN, port: UNKNOWN };
    const filled = fill(planned, properties);
    expect(filled["arn"]).toMatch(/^arn:aws:standin:us-east-1:123456789012:pg0-[0-9a-f]{8}$/);
    expect(filled).toMatchObject({ address: "pg0.standin.internal", port: 5432 });
    expect(fill(planned, properties)).toEqual(filled);
  });

  it("is left out where a guess could break a rule, and in parts of a value", () => {
    const filled = fill(
      { fifoThroughputScope: UNKNOWN, dnsOptions: UNKNOWN, healthCheck: { port: "6432", timeout: UNKNOWN } },
      { fifoThroughputScope: { type: "string" }, dnsOptions: {}, healthCheck: {} },
    );
    expect(filled).not.toHaveProperty("fifoThroughputScope");
    expect(filled).not.toHaveProperty("dnsOptions");
    expect(filled["healthCheck"]).toEqual({ port: "6432" });
  });

  it("does not make a cache a part of a global one, which would hide a change of its engine", () => {
    expect(fill({ globalReplicationGroupId: UNKNOWN }, { globalReplicationGroupId: { type: "string" } })).toMatchObject(
      {
        globalReplicationGroupId: "",
      },
    );
  });

  it("keeps inputs that say no where the default says yes, and the version of the plugin's own state", () => {
    expect(fill({}, {}, { deleteAutomatedBackups: false })).toEqual({
      deleteAutomatedBackups: false,
      __meta: '{"schema_version":"2"}',
    });
    expect(JSON.parse(String(fill({ __meta: '{"timeouts":1}' })["__meta"]))).toEqual({
      timeouts: 1,
      schema_version: "2",
    });
  });
});
