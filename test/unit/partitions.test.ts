import { describe, expect, it } from "vitest";
import { MESSAGES, createSql, indexFor, monthsBetween, partitionName } from "../../migration/partitions/sql.ts";

const utc = (text: string): Date => new Date(`${text}T00:00:00Z`);

describe("partitions by month", () => {
  it("cover every month from the first to the last, over the turn of a year", () => {
    const months = monthsBetween(new Date("2025-11-30T23:59:59.9Z"), utc("2026-02-01"));
    expect(months.map((month) => partitionName(MESSAGES, month))).toEqual([
      "messages_p20251101",
      "messages_p20251201",
      "messages_p20260101",
      "messages_p20260201",
    ]);
  });

  it("begin where the one before ends", () => {
    const sql = createSql(MESSAGES, monthsBetween(utc("2025-12-05"), utc("2026-01-05")));
    expect(sql).toContain("FROM ('2025-12-01') TO ('2026-01-01')");
    expect(sql).toContain("FROM ('2026-01-01') TO ('2026-02-01')");
    expect(sql).toContain("PRIMARY KEY (id, inserted_at)");
  });

  it("take over an index, its method and its condition", () => {
    const definition =
      "CREATE INDEX idx_messages_unread ON public.messages USING btree (conversation_id) WHERE (read_at IS NULL)";
    expect(indexFor(definition, "leaf_idx", "leaf", true)).toBe(
      "CREATE INDEX CONCURRENTLY IF NOT EXISTS leaf_idx ON leaf USING btree (conversation_id) WHERE (read_at IS NULL)",
    );
    expect(indexFor(definition, "parent_idx", "parent", false)).toBe(
      "CREATE INDEX IF NOT EXISTS parent_idx ON ONLY parent USING btree (conversation_id) WHERE (read_at IS NULL)",
    );
    expect(() => indexFor("DROP TABLE x", "a", "b", true)).toThrow("not an index");
  });
});
