import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { arch, platform, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../../scripts/lib/run.ts";
import { PULUMI_VERSION, plugins } from "../../scripts/setup/versions.ts";
import { cgraph } from "../support/cli.ts";

const home = mkdtempSync(join(tmpdir(), "cgraph-setup-"));
const releases = new Map<string, Buffer>();
let server: Server;
let asked: string[] = [];
let sums = true;

/** Writes an executable script. */
function script(path: string, body: string): void {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
}

/** Puts a tar.gz of files and its published checksum on the server. */
async function publish(url: string, sumsUrl: string, folder: string): Promise<void> {
  const archive = join(home, "archive.tar.gz");
  await run("tar", ["-czf", archive, "-C", folder, "."]);
  const content = readFileSync(archive);
  releases.set(url, content);
  const line = `${createHash("sha256").update(content).digest("hex")}  ${url.split("/").at(-1) ?? ""}\n`;
  releases.set(sumsUrl, Buffer.from(line));
}

const environment = (): NodeJS.ProcessEnv => {
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    ...process.env,
    // A Pulumi that does not run and a Go that is too old, whatever this machine has.
    PATH: `${join(home, "shadow")}:${process.env["PATH"] ?? ""}`,
    XDG_CACHE_HOME: join(home, "cache"),
    PULUMI_HOME: join(home, "pulumi-home"),
    CGRAPH_PULUMI_RELEASES: `${base}/releases`,
    CGRAPH_GITHUB: `${base}/github`,
  };
};

beforeAll(async () => {
  script(join(home, "shadow", "pulumi"), "exit 1");
  script(join(home, "shadow", "go"), "echo go1.20.1");
  // Stands in for the official CLI: it knows its version, and how to keep a plugin.
  script(
    join(home, "sdk", "pulumi", "pulumi"),
    `case "$1" in
       version) echo v${PULUMI_VERSION} ;;
       plugin) to=$PULUMI_HOME/plugins/resource-$4-$5; mkdir -p "$to"; cp "$7" "$to/" ;;
     esac`,
  );
  const system = `${platform()}-${arch() === "x64" ? "x64" : arch()}`;
  await publish(
    `/releases/sdk/pulumi-v${PULUMI_VERSION}-${system}.tar.gz`,
    `/releases/sdk/pulumi-${PULUMI_VERSION}-checksums.txt`,
    join(home, "sdk"),
  );
  for (const { name, version } of plugins()) {
    script(join(home, name, `pulumi-resource-${name}`), `echo ${name}`);
    const folder = `/github/pulumi/pulumi-${name}/releases/download/v${version}`;
    await publish(
      `${folder}/pulumi-resource-${name}-v${version}-${platform()}-${arch() === "x64" ? "amd64" : arch()}.tar.gz`,
      `${folder}/pulumi-${name}_${version}_checksums.txt`,
      join(home, name),
    );
  }
  server = createServer((request, response) => {
    const url = request.url ?? "";
    asked.push(url);
    const content = releases.get(url);
    if (!content || (!sums && url.endsWith("checksums.txt"))) response.writeHead(403).end();
    else response.end(content);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterAll(() => {
  server.close();
  rmSync(home, { recursive: true, force: true });
});

describe("set-up on a machine without Pulumi", () => {
  it("where every download is refused and Go is too old, asks once and says what to do", async () => {
    sums = false;
    asked = [];
    const { code, stderr } = await cgraph(["setup", "--no-install"], { env: environment() });
    expect(code).toBe(1);
    expect(stderr).toContain("no official Pulumi CLI (127.0.0.1:");
    expect(stderr).toContain("needs Go 1.25 or newer (found: 1.20.1)");
    expect(stderr).toContain("install Go from");
    expect(asked).toEqual([`/releases/sdk/pulumi-${PULUMI_VERSION}-checksums.txt`]);
    sums = true;
  });

  it("lists what is missing, and changes nothing", async () => {
    const { code, stdout } = await cgraph(["setup", "--check", "--json"], { env: environment() });
    expect(code).toBe(1);
    const findings = JSON.parse(stdout) as { what: string; found: string | null }[];
    expect(findings.filter((finding) => finding.found === null).map((finding) => finding.what)).toEqual([
      "Pulumi CLI",
      "Pulumi plugin docker",
      "Pulumi plugin random",
    ]);
    expect(existsSync(join(home, "pulumi-home"))).toBe(false);
  });

  it("takes the official releases where it can, and does so once", async () => {
    const first = await cgraph(["setup", "--no-install", "--json"], { env: environment() });
    expect(first.code, first.stderr).toBe(0);
    expect(JSON.parse(first.stdout)).toMatchObject({ pulumi: PULUMI_VERSION });
    expect(first.stderr).not.toContain("no official");
    asked = [];
    const second = await cgraph(["setup", "--no-install"], { env: environment() });
    expect(second.code, second.stderr).toBe(0);
    expect(asked).toEqual([]);
    expect((await cgraph(["setup", "--check"], { env: environment() })).code).toBe(0);
  });
});
