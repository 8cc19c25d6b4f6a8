import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pipe, run } from "../../scripts/lib/run.ts";
import { findCitus } from "../../scripts/setup/citusImage.ts";
import { cgraph, removeStack, setConfig, uniqueStack } from "../support/cli.ts";

const tag = randomBytes(4).toString("hex");
/** Two images: one with a file where Citus for PostgreSQL 17 has it, one without. */
const WITH = `localhost/cgraph-test-${tag}:with`;
const WITHOUT = `localhost/cgraph-test-${tag}:without`;
const NOWHERE = `localhost/cgraph-test-${tag}:nowhere`;

let server: Server;
let repository = "";
let answer: number | "is silent" = 200;
const asked: string[] = [];
const find = (more: Partial<Parameters<typeof findCitus>[0]> = {}) =>
  findCitus({ image: NOWHERE, base: WITHOUT, postgresVersion: 17, repository, answerMs: 500, ...more });

async function importImage(image: string, file: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "cgraph-citus-"));
  try {
    mkdirSync(join(folder, file, ".."), { recursive: true });
    writeFileSync(join(folder, file), "");
    expect(await pipe(["tar", "-C", folder, "-c", "."], ["docker", "import", "-", image])).toBe(true);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

beforeAll(async () => {
  await importImage(WITH, "usr/share/postgresql/17/extension/citus.control");
  await importImage(WITHOUT, "usr/share/postgresql/17/extension/pg_cron.control");
  server = createServer((request, response) => {
    asked.push(request.url ?? "");
    if (answer !== "is silent") response.writeHead(answer).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  repository = `http://127.0.0.1:${(server.address() as AddressInfo).port}/debian`;
});
afterAll(async () => {
  server.close();
  server.closeAllConnections();
  await run("docker", ["image", "rm", WITH, WITHOUT]);
});

describe("Citus for servers in Docker", () => {
  it("is in an image that was built before, or in the base image: nobody is asked", async () => {
    expect(await find({ image: WITHOUT })).toBe("image");
    expect(await find({ base: WITH })).toBe("base");
    expect(asked).toEqual([]);
  });

  it("is installed from the Citus project's packages, where those answer", async () => {
    answer = 200;
    expect(await find()).toBe("packages");
    expect(asked).toEqual(["/debian/dists/trixie/InRelease"]);
    // The base has it for another major only.
    expect(await find({ base: WITH, postgresVersion: 16 })).toBe("packages");
  });

  it("is missed with the reason where they refuse, are silent, or are not there", async () => {
    answer = 403;
    await expect(find()).rejects.toThrow("it answers with 403");
    answer = "is silent";
    await expect(find()).rejects.toThrow("no answer within 0.5 s");
    await expect(find({ repository: "http://127.0.0.1:1" })).rejects.toThrow(/cannot be had from http.*: \S+/);
    await expect(find({ base: NOWHERE })).rejects.toThrow(`not in the base image ${NOWHERE}`);
  });

  it("has no packages for other majors of PostgreSQL", async () => {
    await expect(find({ base: WITH, postgresVersion: 15 })).rejects.toThrow("no packages for PostgreSQL 15");
  });

  it("keeps up and preview from beginning what could not be built, and nothing else", async () => {
    const stack = uniqueStack();
    try {
      await setConfig(stack, { baseImage: WITHOUT, workers: "1", replicas: "1" });
      const options = { env: { ...process.env, CGRAPH_CITUS_REPOSITORY: "http://127.0.0.1:1" } };
      for (const command of [["up", "--no-install"], ["preview"]]) {
        const { code, stderr } = await cgraph([...command, "--stack", stack, "--stage", "5"], options);
        expect([code, stderr]).toEqual([3, expect.stringContaining("stage 5 needs Citus, which is not in the base")]);
      }
      expect((await cgraph(["config", "show", "--stack", stack], options)).code).toBe(0);
      expect((await run("docker", ["network", "ls", "--quiet", "--filter", `name=cgraph-${stack}`])).stdout).toBe("");
    } finally {
      await removeStack(stack);
    }
  });
});
