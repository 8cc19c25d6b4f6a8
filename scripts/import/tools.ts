/** The container that an import works in: pgcopydb, psql, and a way for the stack's server to the source. */
import { readFileSync } from "node:fs";
import { INSTALLATION_LABEL, STACK_LABEL, dockerName } from "../../components/docker/names.ts";
import { DATABASE } from "../../components/roles.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { docker } from "../lib/docker.ts";
import { ensureImage } from "../lib/image.ts";
import { step } from "../lib/progress.ts";
import { type RunResult, run } from "../lib/run.ts";
import { readStackConfig } from "../lib/stackConfig.ts";
import { findBaseImage } from "../setup/baseImage.ts";
import { COPY_OPTIONS, QUERY_OPTIONS, lastLines, sourceError } from "./session.ts";
import { type Source, passfileText, publicUrl } from "./source.ts";

/** In memory only: the password, certificates. */
const SECRETS = "/run/cgraph-import";
/** On a volume: what a copy that goes on by itself writes. */
export const WORK = "/var/lib/cgraph-copy";
const SOCKETS = "/run/postgresql";
/** On the volume of the server's socket, where the server itself finds it too. */
const RELAY_FOLDER = `${SOCKETS}/cgraph-import`;
/** A port of the server's own 127.0.0.1, which nothing else uses there. */
const RELAY_PORT = 15432;
export const RELAY = { port: RELAY_PORT, folder: RELAY_FOLDER } as const;
const APPLICATION = "cgraph-db import";

/** The image with pgcopydb, built where it is missing. */
async function copyImage(stack: string): Promise<string> {
  const base = readStackConfig(stack)["baseImage"] ?? (await findBaseImage());
  if (base === undefined) throw new UserError("there is no Debian base image", "run ./cgraph-db setup", EXIT.failed);
  return ensureImage({
    ...{ kind: "copy", version: "1", folders: ["copy"], buildArgs: { BASE: base } },
    whileBuilding: (build, name) => step("image with pgcopydb", async () => ({ value: await build(), done: name })),
  });
}

export interface ToolsPlace {
  readonly stack: string;
  readonly source: Source;
  /** The stack's server; undefined where there is no stack yet. */
  readonly server: string | undefined;
}

const idOf = (container: string, flag: string): Promise<string> =>
  docker(["exec", container, "id", flag, "postgres"]).then((text) => text.trim());

export class Tools {
  readonly source: Source;
  readonly stack: string;
  readonly #server: string | undefined;
  readonly #container: string;
  readonly #relay: string;
  readonly #volume: string;
  /** Whether this process has found or made the container. */
  #started = false;

  constructor({ stack, source, server }: ToolsPlace) {
    this.stack = stack;
    this.source = source;
    this.#server = server;
    this.#container = dockerName(stack, "import");
    this.#relay = dockerName(stack, "import-relay");
    this.#volume = dockerName(stack, "import");
  }

  /** The source's URL inside of the container: no password in it. */
  get sourceUrl(): string {
    return publicUrl(this.source, (name) => `${SECRETS}/${name}`);
  }

  readonly targetUrl = `postgresql://postgres@/${DATABASE}?host=${SOCKETS}`;

  /** Slot, publication and subscription have this name. */
  get name(): string {
    return `cgraph_import_${this.stack.replaceAll("-", "_")}`;
  }

  /** Makes the container, or finds the one that an interrupted call has left at work; hands it the password again. */
  async start(): Promise<void> {
    if (this.#started) return;
    const image = await copyImage(this.stack);
    const running = await run("docker", [
      "inspect",
      "--format",
      "{{.State.Running}} {{.Config.Image}}",
      this.#container,
    ]);
    if (running.stdout.trim() !== `true ${image}`) await this.#create(image);
    await this.#giveFiles(SECRETS);
    this.#started = true;
  }

  /** Password and certificates. A call without the password leaves that of an earlier one, which is still at work. */
  async #giveFiles(folder: string): Promise<void> {
    if (this.source.password !== undefined || (await this.exec("test", "-e", `${folder}/pgpass`)).code !== 0) {
      await this.#give(`${folder}/pgpass`, passfileText(this.source));
    }
    for (const [name, path] of Object.entries(this.source.files)) {
      await this.#give(`${folder}/${name}`, readFileSync(path, "utf8"));
    }
  }

  async #create(image: string): Promise<void> {
    await run("docker", ["rm", "--force", this.#container]);
    // As the server's own user: its socket asks for no password then. Its number may differ between images.
    const [user, group] = this.#server
      ? [await idOf(this.#server, "-u"), await idOf(this.#server, "-g")]
      : ["65534", "65534"];
    const labels = await this.#labels();
    await docker(["volume", "create", ...labels, this.#volume]);
    await docker([
      ...["run", "--detach", "--init", "--name", this.#container, ...labels],
      // The source may listen on this machine's 127.0.0.1 only; the target is reached by its socket, on a volume.
      ...["--network", "host"],
      ...["--user", `${user}:${group}`, "--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
      ...["--tmpfs", `${SECRETS}:mode=0700,uid=${user},gid=${group}`],
      ...["--volume", `${this.#volume}:${WORK}`],
      ...(this.#server ? ["--volume", `${dockerName(this.stack, "pg0", "run")}:${SOCKETS}`] : []),
      ...["--env", `PGPASSFILE=${SECRETS}/pgpass`, "--env", `HOME=${WORK}`, "--env", `PGAPPNAME=${APPLICATION}`],
      ...[
        "--env",
        `PGOPTIONS=${COPY_OPTIONS}`,
        "--env",
        "PGCONNECT_TIMEOUT=10",
        "--env",
        `PGCOPYDB_SOURCE_PGURI=${this.sourceUrl}`,
      ],
      ...["--env", `PGCOPYDB_TARGET_PGURI=${this.targetUrl}`],
      ...["--log-opt", "max-size=10m", image, "idle"],
    ]);
  }

  async #labels(): Promise<string[]> {
    if (!this.#server) return [];
    const text = await docker(["inspect", "--format", "{{json .Config.Labels}}", this.#server]);
    const labels = JSON.parse(text) as Record<string, string>;
    return [STACK_LABEL, INSTALLATION_LABEL].flatMap((key) => ["--label", `${key}=${labels[key] ?? ""}`]);
  }

  /** Writes a file for the container's user alone; its content stands in no command line. */
  async #give(path: string, content: string): Promise<void> {
    const { code, stderr } = await this.shell(`umask 077; cat >"${path}.part" && mv "${path}.part" "${path}"`, content);
    if (code !== 0) throw new Error(`${path} could not be written: ${stderr}`);
  }

  /** Runs a shell's text in the container. */
  shell(text: string, input = ""): Promise<RunResult> {
    return run("docker", ["exec", "--interactive", this.#container, "sh", "-c", text], { input });
  }

  exec(...args: string[]): Promise<RunResult> {
    return run("docker", ["exec", this.#container, ...args]);
  }

  async #psql(url: string, sql: string): Promise<RunResult> {
    const psql = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", "-"];
    const session = ["--env", `PGOPTIONS=${QUERY_OPTIONS}`];
    return run("docker", ["exec", "--interactive", ...session, this.#container, ...psql], { input: sql });
  }

  /** Runs SQL on the source, and gives rows as psql prints them, unaligned. */
  async onSource(sql: string): Promise<string> {
    const { code, stdout, stderr } = await this.#psql(this.sourceUrl, sql);
    if (code === 0) return stdout.trim();
    throw sourceError(this.source, stderr);
  }

  /** Runs SQL as the superuser in the target's database, or another. */
  async onTarget(sql: string, database = DATABASE): Promise<string> {
    const { code, stdout, stderr } = await this.#psql(this.targetUrl.replace(`/${DATABASE}?`, `/${database}?`), sql);
    if (code === 0) return stdout.trim();
    throw new UserError(
      `the stack's server: ${lastLines(stderr)}`,
      "see ./cgraph-db status, then ./cgraph-db import --resume",
      EXIT.failed,
    );
  }

  /** Starts a command that goes on when this process ends. */
  async startJob(name: string, ...command: string[]): Promise<void> {
    await docker(["exec", "--detach", this.#container, "cgraph-copy", "job", name, ...command]);
  }

  /** Whether a job runs, and its exit code once it has ended; null where it has not begun or was killed. */
  async jobState(name: string): Promise<{ running: boolean; code: number | null }> {
    const job = `${WORK}/${name}`;
    const { stdout } = await this.shell(
      `if [ -e ${job}.lock ] && ! flock -n ${job}.lock true; then echo running; else cat ${job}.rc 2>/dev/null; fi`,
    );
    const text = stdout.trim();
    return { running: text === "running", code: /^\d+$/.test(text) ? Number(text) : null };
  }

  /** A job's messages of failure. */
  async jobWords(name: string): Promise<string> {
    const { stdout } = await this.shell(
      `grep -E 'ERROR|FATAL|error:' ${WORK}/${name}.log | tail -n 4; [ -s ${WORK}/${name}.log ] || true`,
    );
    // pgcopydb's own place in its source says nothing to the reader.
    return stdout.replace(/^\S+ \S+ \d+ (ERROR|FATAL)\s+\S+\s+/gm, "").trim();
  }

  /** Ends all that runs in the container and forgets what it has written. */
  async reset(): Promise<void> {
    await run("docker", ["rm", "--force", this.#container, this.#relay]);
    await run("docker", ["volume", "rm", this.#volume]);
    this.#started = false;
    await this.start();
  }

  /** Makes the source reachable for the stack's server, at a port of its own 127.0.0.1, whatever reaches it from here. */
  async relay(): Promise<void> {
    const server = this.#server;
    if (server === undefined) throw new Error("there is no server to relay to");
    await this.start();
    await this.shell(`mkdir -p -m 0700 ${RELAY_FOLDER}`);
    await this.#giveFiles(RELAY_FOLDER);
    if (!(await this.jobState("relay")).running) {
      const { host, port } = this.source;
      const there = `TCP:${host.includes(":") ? `[${host}]` : host}:${port},keepalive`;
      await this.startJob("relay", "socat", `UNIX-LISTEN:${RELAY_FOLDER}/source,fork,unlink-early,mode=600`, there);
    }
    const image = await copyImage(this.stack);
    const serverId = (await docker(["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", server])).trim();
    const format = '{{.State.Running}} {{index .Config.Labels "cgraph.server"}}';
    const { stdout } = await run("docker", ["inspect", "--format", format, this.#relay]);
    // A server that has started anew has another network than the one that the relay was in.
    if (stdout.trim() === `true ${serverId}`) return;
    await run("docker", ["rm", "--force", this.#relay]);
    await docker([
      ...[
        "run",
        "--detach",
        "--init",
        "--name",
        this.#relay,
        ...(await this.#labels()),
        "--label",
        `cgraph.server=${serverId}`,
      ],
      ...["--network", `container:${server}`, "--user", `${await idOf(server, "-u")}:${await idOf(server, "-g")}`],
      ...["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--log-opt", "max-size=10m"],
      ...["--volume", `${dockerName(this.stack, "pg0", "run")}:${SOCKETS}`, image],
      ...["socat", `TCP-LISTEN:${RELAY_PORT},bind=127.0.0.1,fork,reuseaddr`, `UNIX-CONNECT:${RELAY_FOLDER}/source`],
    ]);
  }

  /** Removes all of it: containers, volume, what the server was given to reach the source. */
  async remove(): Promise<void> {
    await this.shell(`rm -rf ${RELAY_FOLDER}`);
    await run("docker", ["rm", "--force", this.#container, this.#relay]);
    await run("docker", ["volume", "rm", this.#volume]);
    this.#started = false;
  }
}
