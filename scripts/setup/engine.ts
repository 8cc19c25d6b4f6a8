import { existsSync, openSync, readFileSync, rmSync } from "node:fs";
import { spawn } from "node:child_process";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type Step, note } from "../lib/progress.ts";
import { run } from "../lib/run.ts";

const SOCKET = "unix:///var/run/docker.sock";
const LOG = "/var/log/cgraph-dockerd.log";

/** Version of the Docker engine that answers, undefined where none does. */
export async function engineVersion(): Promise<string | undefined> {
  const { code, stdout } = await run("docker", ["version", "--format", "{{.Server.Version}}"], { timeoutMs: 10_000 });
  return code === 0 ? stdout.trim() : undefined;
}

/**
 * Points DOCKER_HOST at the engine that the docker command itself would use (its context), so that Pulumi's plugin
 * uses the same one.
 */
export async function adoptDockerContext(): Promise<void> {
  if (process.env["DOCKER_HOST"]) return;
  const { code, stdout } = await run("docker", ["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]);
  const host = stdout.trim();
  if (code === 0 && host !== "" && host !== SOCKET) process.env["DOCKER_HOST"] = host;
}

const onDebian = (): boolean =>
  existsSync("/etc/os-release") && /^ID(_LIKE)?=.*(debian|ubuntu)/m.test(readFileSync("/etc/os-release", "utf8"));

const INSTALL =
  "install Docker: https://docs.docker.com/engine/install/ (on Debian or Ubuntu: apt-get install docker.io iptables)";

function noEngine(problem: string, remedy: string): UserError {
  return new UserError(problem, remedy, EXIT.failed);
}

async function aptInstall(packages: readonly string[], progress: Step): Promise<void> {
  progress.detail(`installing ${packages.join(", ")} with apt-get`);
  note(`  as root on this machine: apt-get install ${packages.join(" ")} (--no-install forbids it)`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  // An old package list, or one foreign source that does not answer, need not keep the packages from coming.
  await run("apt-get", ["update", "-qq"], { env });
  const { code, stderr } = await run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...packages], {
    env,
  });
  if (code !== 0)
    throw noEngine(`apt-get could not install ${packages.join(" ")}: ${stderr.trim().split("\n").at(-1)}`, INSTALL);
}

/** Installs Debian packages where this process may; for set-up steps other than the engine. */
export async function ensurePackages(packages: readonly string[], allowed: boolean, progress: Step): Promise<boolean> {
  if (!allowed || process.getuid?.() !== 0 || !onDebian()) return false;
  await aptInstall(packages, progress);
  return true;
}

/** Removes a process-id file whose process has ended: dockerd takes another process of that number for itself. */
function removeStalePid(file: string, program: string): void {
  if (!existsSync(file)) return;
  const pid = readFileSync(file, "utf8").trim();
  const comm = `/proc/${pid}/comm`;
  if (existsSync("/proc/self/comm") && !(existsSync(comm) && readFileSync(comm, "utf8").startsWith(program)))
    rmSync(file);
}

/** Starts the Docker engine, after installing it where this is allowed and possible. */
export async function startEngine(mayInstall: boolean, progress: Step): Promise<string> {
  const target = process.env["DOCKER_HOST"];
  if (target && target !== SOCKET) {
    throw noEngine(`no Docker engine answers at DOCKER_HOST=${target}`, "start it, or unset DOCKER_HOST");
  }
  const dockerd = (await run("dockerd", ["--version"])).code === 0;
  if (process.getuid?.() !== 0) {
    throw noEngine(
      dockerd ? "the Docker engine is installed but does not answer" : "no Docker engine is installed",
      dockerd ? "start it (sudo systemctl start docker) and see that you are in the group docker" : INSTALL,
    );
  }
  if (!dockerd) {
    if (!mayInstall) throw noEngine("no Docker engine is installed, and --no-install forbids installing it", INSTALL);
    if (!onDebian()) throw noEngine("no Docker engine is installed, and this is no Debian or Ubuntu", INSTALL);
    await aptInstall(["docker.io", "iptables"], progress);
  }
  progress.detail("starting");
  const bySystemd = existsSync("/run/systemd/system") && (await run("systemctl", ["start", "docker"])).code === 0;
  if (!bySystemd) {
    removeStalePid("/var/run/docker.pid", "dockerd");
    removeStalePid("/var/run/docker/containerd/containerd.pid", "containerd");
    note(`  starting dockerd in the background (its log: ${LOG})`);
    const log = openSync(LOG, "a");
    const child = spawn("dockerd", [], { detached: true, stdio: ["ignore", log, log] });
    child.on("error", () => undefined);
    child.unref();
  }
  for (let tries = 0; tries < 120; tries++) {
    const version = await engineVersion();
    if (version) return version;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  throw noEngine(
    "the Docker engine was started but does not answer after a minute",
    `read ${LOG} or journalctl -u docker`,
  );
}
