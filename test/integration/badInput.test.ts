import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../../scripts/lib/run.ts";
import { localStateFile, stackConfigFile } from "../../scripts/lib/stackFiles.ts";
import { cgraph, cgraphOk, freePort, removeStack, uniqueStack } from "../support/cli.ts";

const stack = uniqueStack();
const other = uniqueStack();

beforeAll(async () => {
  await cgraphOk("up", "--stack", stack, "--port", String(await freePort()), "--no-install");
});
afterAll(async () => {
  await removeStack(stack);
  await removeStack(other);
});

/** Runs a command that must fail with one clear message: no stack trace, something to do, the right exit code. */
async function fails(
  code: number,
  words: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<void> {
  const result = await cgraph(args, { env: { ...process.env, ...env } });
  expect(result.stderr).toContain(words);
  expect(result.stderr).not.toMatch(/^\s+at .*:\d+:\d+/m);
  expect(result.code, result.stderr).toBe(code);
}

describe("wrong use ends with 2", () => {
  it.each([
    ["an unknown stage", 'cgraph:stage is "7"', ["up", "--stage", "7", "--stack", other]],
    ["an unknown stack", 'there is no stack "nosuch"', ["status", "--stack", "nosuch"]],
    ["a stack name that leads elsewhere", "no name for a stack", ["status", "--stack", "../../etc"]],
    ["an unknown option", "unknown option '--fast'", ["up", "--fast"]],
    ["an unknown command", "unknown command 'update'", ["update"]],
    ["a port out of range", 'cgraph:port is "99999"', ["up", "--port", "99999", "--stack", other]],
    ["an unknown role", "there is no role root", ["psql", "--role", "root", "--stack", stack]],
    ["an unknown server", "there is no server pg9", ["logs", "pg9", "--stack", stack]],
    ["an unknown benchmark", "there is no benchmark", ["bench", "everything"]],
    ["an unknown backup type", "there is no backup type", ["backup", "--type", "weekly", "--stack", stack]],
  ])("%s", async (_, words, args) => {
    await fails(2, words, args);
  });

  it("a configuration value of the wrong type, or a key that nothing reads", async () => {
    const file = stackConfigFile(stack);
    const good = readFileSync(file, "utf8");
    try {
      for (const [line, words] of [
        ['cgraph:maxConnections: "many"', 'cgraph:maxConnections is "many"'],
        ["cgraph:prot: 5433", "cgraph:prot is not a setting"],
        ["cgraph:settings: {wal_level: minimal}", "wal_level is fixed"],
        ["cgraph:settings: {shared_buffers: 64GB}", "MiB when busy"],
        ["cgraph:settings: {work_mem: 10s}", "measured in MB"],
      ] as const) {
        writeFileSync(file, `${good}  ${line}\n`);
        await fails(2, words, ["preview", "--stack", stack]);
      }
      writeFileSync(file, "config: [");
      await fails(2, "is not YAML", ["preview", "--stack", stack]);
    } finally {
      writeFileSync(file, good);
    }
  });
});

describe("what cannot be done ends with 1, and changes nothing", () => {
  it("no Docker engine", async () => {
    await fails(1, "no Docker engine answers at DOCKER_HOST", ["up", "--stack", stack], {
      DOCKER_HOST: "tcp://127.0.0.1:1",
    });
  });

  it("a port that is taken", async () => {
    const server = createServer();
    const port = await freePort();
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    await fails(1, `port ${port} on 127.0.0.1 is taken`, [
      "up",
      "--stack",
      other,
      "--port",
      String(port),
      "--no-install",
    ]);
    server.close();
  });

  it("two at once on one stack", async () => {
    const results = await Promise.all([0, 1].map(() => cgraph(["up", "--stack", stack, "--no-install"])));
    expect(results.map((result) => result.code).sort()).toEqual([0, 1]);
    expect(results.find((result) => result.code === 1)?.stderr).toContain("is at work on stack");
  });

  it("a damaged state file, and says where the last good copy is", async () => {
    const file = localStateFile(stack);
    const good = readFileSync(file, "utf8");
    writeFileSync(file, good.slice(0, good.length / 2));
    await fails(1, `cp ${file}.bak ${file}`, ["up", "--stack", stack, "--no-install"]);
    expect(existsSync(`${file}.bak`)).toBe(true);
    copyFileSync(`${file}.bak`, file);
    await cgraphOk("up", "--stack", stack, "--no-install");
    writeFileSync(file, good);
    await cgraphOk("up", "--stack", stack, "--no-install");
  });

  it("a wrong passphrase", async () => {
    await fails(1, "the passphrase does not open", ["env", "--stack", stack], { PULUMI_CONFIG_PASSPHRASE: "wrong" });
    await fails(1, "the passphrase does not open", ["up", "--stack", stack, "--no-install"], {
      PULUMI_CONFIG_PASSPHRASE: "wrong",
    });
    await cgraphOk("env", "--stack", stack);
  });
});

describe("what would lose data ends with 3", () => {
  it("a volume that another state made", async () => {
    await run("docker", [
      "volume",
      "create",
      "--label",
      `cgraph.stack=${other}`,
      "--label",
      "cgraph.installation=theirs",
      `cgraph-${other}-pg0-data`,
    ]);
    await fails(3, "belongs to another stack named", [
      "up",
      "--stack",
      other,
      "--port",
      String(await freePort()),
      "--no-install",
    ]);
    await run("docker", ["volume", "rm", `cgraph-${other}-pg0-data`]);
  });

  it("a data volume that is gone", async () => {
    await cgraphOk("down", "--stack", stack);
    const labels = (
      await run("docker", ["volume", "inspect", "--format", "{{json .Labels}}", `cgraph-${stack}-pg0-data`])
    ).stdout;
    await run("docker", ["volume", "rm", `cgraph-${stack}-pg0-data`]);
    await fails(3, "is gone from Docker", ["up", "--stack", stack, "--no-install"]);
    const entries = Object.entries(JSON.parse(labels) as Record<string, string>);
    const flags = entries.flatMap(([key, value]) => ["--label", `${key}=${value}`]);

    // In its place a disk of 16 MB, too small for a cluster: one message, and nothing half-made.
    await run("docker", [
      "volume",
      "create",
      ...flags,
      "--opt",
      "type=tmpfs",
      "--opt",
      "device=tmpfs",
      "--opt",
      "o=size=16m",
      `cgraph-${stack}-pg0-data`,
    ]);
    await fails(1, "No space left on device", ["up", "--stack", stack, "--no-install"]);
    await cgraphOk("down", "--stack", stack);

    // And one that holds another major version.
    await run("docker", ["volume", "rm", `cgraph-${stack}-pg0-data`]);
    await run("docker", ["volume", "create", ...flags, `cgraph-${stack}-pg0-data`]);
    const image = (await run("docker", ["images", "--quiet", "cgraph-postgres"])).stdout.split("\n")[0] ?? "";
    await run("docker", [
      "run",
      "--rm",
      "--label",
      `cgraph.stack=${stack}`,
      "--entrypoint",
      "sh",
      "--volume",
      `cgraph-${stack}-pg0-data:/v`,
      image,
      "-c",
      "mkdir -p /v/16/data && echo 16 > /v/16/data/PG_VERSION && echo precious > /v/16/data/file",
    ]);
    await fails(1, "the data volume holds PostgreSQL 16, this image is PostgreSQL 17", [
      "up",
      "--stack",
      stack,
      "--no-install",
    ]);
    const kept = await run("docker", [
      "run",
      "--rm",
      "--entrypoint",
      "cat",
      "--volume",
      `cgraph-${stack}-pg0-data:/v`,
      image,
      "/v/16/data/file",
    ]);
    expect(kept.stdout.trim()).toBe("precious");
  });
});
