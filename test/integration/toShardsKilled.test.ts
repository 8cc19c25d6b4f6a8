import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChatLoad, NO_DIFFERENCE } from "../../bench/chatLoad.ts";
import { distribution } from "../../bench/pauses.ts";
import { openJournal } from "../../scripts/migrate/journal.ts";
import { asOwner } from "../support/chat.ts";
import { cgraph, cgraphOk, freePort, removeStack, setConfig, uniqueStack } from "../support/cli.ts";
import { ask, withUrl } from "../support/client.ts";
import { killDuring } from "../support/killing.ts";
import { FULL, LONG } from "../support/longDrills.ts";

const FORWARD = "check backup freeze home extend replicas restart tables global switch copy verify handover".split(" ");
const BACK = ["handover", "copy", "switch", "global", "tables", "extend", "freeze"];
const stack = uniqueStack();
const migrate = (...args: string[]): string[] => ["migrate", "--stack", stack, "--yes", ...args];
let url = "";

/** Kills the move in each of these steps, and goes on with it each time. */
async function killedIn(steps: readonly string[]): Promise<void> {
  for (const step of steps) {
    const args = openJournal(stack) ? ["--resume"] : ["--stage", "4"];
    const afterMs = Math.random() * 3000;
    const under = await killDuring(stack, `4:${step}`, migrate(...args), afterMs);
    console.log(`${step}: killed ${under ? `${Math.round(afterMs)} ms into it` : "when it had just ended"}`);
  }
}

/** The move's end, where a kill has not come too late for it. */
async function end(...args: string[]): Promise<void> {
  if (openJournal(stack)) await cgraphOk(...migrate(...args));
}

const verdict = async (): Promise<string> =>
  (JSON.parse(await cgraphOk("preview", "--stack", stack, "--json")) as { verdict: string }).verdict;

describe.runIf(FULL)(`a move from one database to shards that is killed (-9) in every step${LONG}`, () => {
  let load: ChatLoad;

  beforeAll(async () => {
    await setConfig(stack, { shards: "2", maxConnections: "100", cacheMemoryMiB: "64", monitoring: "false" });
    await cgraphOk("up", "--stack", stack, "--stage", "3", "--port", String(await freePort()), "--no-install");
    await cgraphOk("schema", "apply", "--stack", stack);
    await asOwner(stack, (client) => client.query(ChatLoad.seedSql(3000)));
    await cgraphOk("partitions", "convert", "--drop-old", "--yes", "--stack", stack);
    const env = JSON.parse(await cgraphOk("env", "--stack", stack, "--json")) as Record<string, string>;
    url = env["DATABASE_URL"] ?? "";
    load = new ChatLoad(url, { clients: 10, oldMessages: 3000, perSecond: 50 }).start();
    expect(await load.progress(100, 60_000)).toBe(true);
    load.mark();
  }, 900_000);
  afterAll(() => removeStack(stack));

  it("goes on up to the handover", { timeout: 3_600_000 }, async () => {
    await killedIn(FORWARD);
    await end("--resume", "--pause-after", "4:handover");
    expect(openJournal(stack)?.steps.find(({ id }) => id === "4:handover")?.state).toBe("done");
  });

  it("is taken back, killed in every step of the way", { timeout: 3_600_000 }, async () => {
    for (const step of BACK) await killDuring(stack, `4:${step}`, migrate("--rollback"), Math.random() * 4000, true);
    await end("--rollback");
    expect(await verdict()).toBe("none");
  });

  it(
    "goes to its end, once more killed in every step: nothing lost, nothing twice, no error",
    {
      timeout: 3_600_000,
    },
    async () => {
      await killedIn([...FORWARD, "clear", "finish"]);
      await end("--resume");
      expect(await verdict()).toBe("none");
      expect(await load.progress(100, 60_000)).toBe(true);
      const report = await load.stop();
      console.log(
        `${report.inserted} writes; ${report.longestPauseMs} ms at the longest, ${distribution(report.pauses)}`,
      );
      expect({ errors: report.errors, messages: report.messages }).toEqual({ errors: 0, messages: [] });
      expect(await withUrl(url, (client) => load.difference(client))).toEqual(NO_DIFFERENCE);
      const names =
        "SELECT (SELECT count(*)::int FROM users) AS users, (SELECT count(*)::int FROM user_directory) AS names";
      expect(await ask(url, names)).toEqual([{ users: 1000, names: 1000 }]);
      expect((await cgraph(migrate("--resume"))).code).toBe(3);
    },
  );
});
