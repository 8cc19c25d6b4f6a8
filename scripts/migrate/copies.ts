/** Waits for replicas that copy the primary, and says how far they are. */
import type { StackValues } from "../../stacks/outputs.ts";
import { currentPrimary, settle, superuserSql } from "../lib/cluster.ts";
import { bytes } from "../lib/print.ts";
import type { Progress } from "./runner.ts";

interface Copy {
  readonly streamed: number;
  readonly total: number | null;
}

async function copiesUnderWay(values: StackValues): Promise<Copy[]> {
  const { container } = await currentPrimary(values);
  const rows = await superuserSql(
    container,
    `SELECT coalesce(json_agg(json_build_object('streamed', backup_streamed, 'total', backup_total)), '[]')
     FROM pg_stat_progress_basebackup`,
  );
  return JSON.parse(rows) as Copy[];
}

/** Until every replica is in step; rate and time left as the primary tells them. */
export async function awaitCopies(values: StackValues, progress: Progress): Promise<void> {
  const began = Date.now();
  let ended = false;
  const watch = async (): Promise<void> => {
    while (!ended) {
      const copies = await copiesUnderWay(values).catch(() => []);
      const streamed = copies.reduce((sum, copy) => sum + copy.streamed, 0);
      const total = copies.reduce((sum, copy) => sum + (copy.total ?? copy.streamed), 0);
      if (streamed > 0) {
        const rate = streamed / ((Date.now() - began) / 1000);
        const left = Math.round(Math.max(0, total - streamed) / Math.max(rate, 1));
        progress.detail(`${bytes(streamed)} of ${bytes(total)}, ${bytes(rate)} a second, ${left} s left`);
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  };
  const watching = watch();
  try {
    await settle(values);
  } finally {
    ended = true;
    await watching;
  }
}
