/** AWS emulated on this machine: moto (PyPI) in an environment of its own, with the AWS CLI beside it. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";
import { CACHE } from "../../scripts/lib/paths.ts";
import { run } from "../../scripts/lib/run.ts";
import { type CloudWatch, startCloudWatch } from "./cloudWatch.ts";

const MOTO = "5.2.5";
const AWS_CLI = "1.46.3";
const FOLDER = join(CACHE, `moto-${MOTO}`);
const READY = join(FOLDER, "ready");

/** Makes the environment, once. Gives why it cannot be had, or undefined. */
export async function installMoto(): Promise<string | undefined> {
  if (existsSync(READY)) return undefined;
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(CACHE, { recursive: true });
  const venv = await run("python3", ["-m", "venv", FOLDER]);
  if (venv.code !== 0) return `no Python with venv: ${(venv.stderr || venv.stdout).trim().split("\n")[0]}`;
  const pip = await run(
    join(FOLDER, "bin/pip"),
    ["install", "--quiet", "--disable-pip-version-check", `moto[server]==${MOTO}`, `awscli==${AWS_CLI}`],
    { timeoutMs: 300_000 },
  );
  if (pip.code !== 0) return `moto cannot be installed: ${pip.stderr.trim().split("\n").at(-1)}`;
  mkdirSync(READY);
  return undefined;
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });

export interface EmulatedAws {
  /** The environment in which plugins and the AWS CLI talk to it. */
  readonly env: NodeJS.ProcessEnv;
  readonly cloudWatch: CloudWatch;
  readonly stop: () => Promise<void>;
}

/** This process's environment without any credentials, the machine's own included, and with the AWS CLI before others. */
export const noCredentials = (): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith("AWS_"))),
  PATH: `${join(FOLDER, "bin")}${delimiter}${process.env["PATH"] ?? ""}`,
  AWS_EC2_METADATA_DISABLED: "true",
  AWS_CONFIG_FILE: "/dev/null",
  AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
});

/** Starts an AWS with nothing in it. */
export async function startMoto(): Promise<EmulatedAws> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child: ChildProcess = spawn(join(FOLDER, "bin/moto_server"), ["-H", "127.0.0.1", "-p", String(port)], {
    stdio: "ignore",
    env: { ...process.env, MOTO_IAM_LOAD_MANAGED_POLICIES: "true" },
  });
  for (let tries = 0; tries < 300; tries++) {
    if (
      await fetch(`${url}/moto-api/data.json`).then(
        (answer) => answer.ok,
        () => false,
      )
    )
      break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const cloudWatch = await startCloudWatch();
  return {
    env: {
      ...noCredentials(),
      AWS_ACCESS_KEY_ID: "emulated",
      AWS_SECRET_ACCESS_KEY: "emulated",
      AWS_ENDPOINT_URL: url,
      AWS_ENDPOINT_URL_CLOUDWATCH: cloudWatch.url,
    },
    cloudWatch,
    stop: async () => {
      child.kill();
      await cloudWatch.stop();
    },
  };
}
