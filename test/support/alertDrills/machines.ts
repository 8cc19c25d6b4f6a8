/** Drills of the alerts about disks, processors and memory. What they take they take of pg2, or in containers of their own. */
import { MEMORY_FREE, SERVER_MEMORY } from "../../../monitoring/alerts/machines.ts";
import { SERVER } from "../../../monitoring/serverNames.ts";
import { docker } from "../../../scripts/lib/docker.ts";
import { run } from "../../../scripts/lib/run.ts";
import { cgraphOk, setConfig } from "../cli.ts";
import type { Drill, Drilled } from "./drill.ts";

const MiB = 1024 ** 2;
const FILE = "/var/lib/postgresql/filler";
const VOLUME = { volume: "pg2-data" };

const ask = async (on: Drilled, expression: string): Promise<number> => {
  const [series] = await on.query(expression);
  if (!series) throw new Error(`no figure: ${expression}`);
  return Number(series.value[1]);
};

/** Writes to pg2's disk, which is one of its own, until so much is in use. */
async function fill(on: Drilled, percent: number): Promise<void> {
  const [free, size] = await Promise.all(
    ["avail", "size"].map((figure) => ask(on, `node_filesystem_${figure}_bytes{volume="pg2-data"}`)),
  );
  const bytes = Math.round((free ?? 0) - (size ?? 0) * (1 - percent / 100));
  if (bytes > 0) await on.shell("pg2", `head -c ${bytes} /dev/zero >>${FILE}`);
}

/** A shell's loop in a container, in the background, for ten minutes at most. */
const loop = (on: Drilled, name: string, body: string): Promise<string> =>
  on.shell(name, `(timeout 600 sh -c 'while :; do ${body}; done' >/dev/null 2>&1 &)`);
const endLoops = (on: Drilled, name: string): Promise<string> => on.shell(name, "pkill -f '[w]hile :' || true");

const grow = (on: Drilled, bytesASecond: number) => async (): Promise<void> => {
  await endLoops(on, "pg2");
  await loop(on, "pg2", `head -c ${bytesASecond} /dev/zero >>${FILE}; sleep 1`);
};

/** Of a disk of 2 GiB that is half full: full in 9 hours, full in half an hour. */
const disks = (on: Drilled): Drill[] => {
  const end = async (): Promise<void> => {
    await endLoops(on, "pg2");
    await on.shell("pg2", `rm -f ${FILE}`);
  };
  return [
    {
      alerts: ["disk_usage"],
      labels: VOLUME,
      causes: { warning: () => fill(on, 76), critical: () => fill(on, 88) },
      end,
    },
    {
      alerts: ["disk_full_soon"],
      labels: VOLUME,
      before: () => fill(on, 52),
      causes: { warning: grow(on, 30_000), critical: grow(on, 600_000) },
      end,
      // Both halves of an hour, which is 240 looks, must have grown.
      firesWithinMs: 500_000,
    },
  ];
};

const busy = (on: Drilled, processes: number) => async (): Promise<void> => {
  for (let n = 0; n < processes; n++) await loop(on, "pg2", ":");
};

function serverMemory(on: Drilled): Drill {
  const container = "pg2";
  const hold = (percent: number) => async () => {
    const limit = await ask(on, `cgraph_container_memory_limit_bytes{container="${container}"}`);
    const used = await ask(on, SERVER_MEMORY.replace(`=~"${SERVER}"`, `="${container}"`));
    const bytes = Math.round(((percent - used) / 100) * limit);
    if ((await ask(on, "node_memory_MemAvailable_bytes")) < bytes + 1024 * MiB)
      throw new Error(`this machine has no ${Math.round(bytes / MiB)} MiB to spare for the drill`);
    await on.shell(
      container,
      `(timeout 300 python3 -c 'import time; held = bytearray(${bytes}); time.sleep(300)' >/dev/null 2>&1 &)`,
    );
  };
  return {
    alerts: ["memory"],
    labels: { container },
    causes: { warning: hold(93.5), critical: hold(98.3) },
    end: () => on.shell(container, "pkill -f '[b]ytearray' || true"),
  };
}

/**
 * The machine is not brought to its end: the thresholds come to where it is. `thresholds`: those that the stack has.
 */
function hostMemory(on: Drilled, thresholds: Readonly<Record<string, unknown>>): Drill {
  const names: string[] = [];
  const hold = (percent: number) => async () => {
    const bytes = Math.round(((await ask(on, "node_memory_MemTotal_bytes")) * percent) / 100);
    const image = (await docker(["inspect", "--format", "{{.Image}}", on.container("exporters")])).trim();
    const name = on.container(`memory${names.length}`);
    names.push(name);
    const limits = ["--memory", String(bytes + 128 * MiB), "--network", "none"];
    const label = ["--label", `cgraph.stack=${on.stack}`];
    const script = `import time; held = bytearray(${bytes}); time.sleep(300)`;
    await docker(["run", "--detach", "--rm", "--name", name, ...label, ...limits, image, "python3", "-c", script]);
  };
  return {
    alerts: ["host_memory"],
    before: async () => {
      const free = await ask(on, MEMORY_FREE);
      const near = { warning: Math.round(free - 3), critical: Math.round(free - 7) };
      await setConfig(on.stack, { alertThresholds: JSON.stringify({ ...thresholds, host_memory: near }) });
      await cgraphOk("up", "--stack", on.stack, "--no-install");
    },
    causes: { warning: hold(5), critical: hold(5) },
    end: async () => {
      for (const name of names) await docker(["rm", "--force", name]);
    },
  };
}

/** The disk that a folder of this machine is on, whole: limits are a disk's, not a partition's. */
async function diskOf(folder: string): Promise<string> {
  const source = (await run("findmnt", ["-vno", "SOURCE", "--target", folder])).stdout.trim();
  const whole = (await run("lsblk", ["-ndo", "PKNAME", source])).stdout.trim();
  return whole === "" ? source : `/dev/${whole}`;
}

/**
 * Writers on a disk that lets each of them have twenty requests a second: they wait, and take nothing from anybody. How
 * much of the time counts as waiting depends on what else the machine does: the thresholds come to where that can be seen.
 */
function diskWait(on: Drilled, thresholds: Readonly<Record<string, unknown>>): Drill {
  const names: string[] = [];
  const write = async (script: string): Promise<void> => {
    const disk = await diskOf((await docker(["info", "--format", "{{.DockerRootDir}}"])).trim());
    const image = (await docker(["inspect", "--format", "{{.Image}}", on.container("exporters")])).trim();
    const name = on.container(`writer${names.length}`);
    names.push(name);
    const limits = ["--device-write-iops", `${disk}:20`, "--network", "none"];
    const label = ["--label", `cgraph.stack=${on.stack}`];
    const command = `exec 2>/dev/null; while :; do ${script}; done`;
    await docker(["run", "--detach", "--rm", "--name", name, ...label, ...limits, image, "bash", "-c", command]);
  };
  const dd = (requests: number): string =>
    `dd if=/dev/zero of=/tmp/io bs=4k count=${requests} oflag=direct,dsync status=none`;
  return {
    alerts: ["io_wait"],
    before: async () => {
      const near = { ...thresholds, io_wait: { warning: 3, critical: 20 } };
      await setConfig(on.stack, { alertThresholds: JSON.stringify(near) });
      await cgraphOk("up", "--stack", on.stack, "--no-install");
    },
    causes: {
      // Waits for a quarter of its time.
      warning: () => write(`${dd(5)}; sleep 0.75`),
      critical: async () => {
        for (let n = 0; n < 4; n++) await write(dd(1000));
      },
    },
    end: async () => {
      for (const name of names) await docker(["rm", "--force", name]);
    },
  };
}

export const machineDrills = (on: Drilled, thresholds: Readonly<Record<string, unknown>>): Drill[] => [
  ...disks(on),
  {
    alerts: ["cpu"],
    labels: { container: "pg2" },
    causes: { warning: busy(on, 1), critical: busy(on, 5) },
    end: () => endLoops(on, "pg2"),
  },
  serverMemory(on),
  hostMemory(on, thresholds),
  diskWait(on, thresholds),
];
