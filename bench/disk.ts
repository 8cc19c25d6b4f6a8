/** What the servers' data lies on: the machine's disk as it is, or one as slow as an AWS gp3 volume. */
import { existsSync } from "node:fs";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../tuning/errors.ts";
import { type EngineInfo, command, docker, helper, named } from "./docker.ts";
import { type Proof, measureDisk } from "./proof.ts";

export type DiskName = "bare" | "gp3";

/** gp3's baseline, which every volume has without extra cost: 125 MiB/s and 3000 requests a second. */
export const GP3 = { bytesPerSecond: 125 * 1024 * 1024, requestsPerSecond: 3000 } as const;

/** Pages that Linux lets wait for the disk: a fifth (vm.dirty_ratio) of what a 4 GiB server has beside shared buffers. */
const DIRTY_BYTES = Math.floor(0.2 * 3 * 1024 ** 3);
const READ_AHEAD_KIB = 128;

const BLKIO = "/sys/fs/cgroup/blkio";
const IMAGE_VOLUME = named("disk-image");

export interface Disk {
  readonly name: DiskName;
  /** Docker volume that holds the data. */
  readonly volume: string;
  /** How the limit is made, for the results. */
  readonly mechanism: string;
  /** Puts a running container's processes under the limit. */
  place(container: string): Promise<void>;
  /** Takes the limit away while data is prepared, and puts it back. */
  lift(): Promise<void>;
  apply(): Promise<void>;
  /** What has gone to and from the device itself, past the page cache; undefined where it is not ours alone. */
  traffic(): Promise<Traffic | undefined>;
}

export interface Traffic {
  readonly readBytes: number;
  readonly writtenBytes: number;
}

const nothing = async (): Promise<void> => undefined;

async function bareDisk(): Promise<Disk> {
  const volume = named("data-bare");
  await docker(["volume", "create", volume]);
  return {
    name: "bare",
    volume,
    mechanism: "none: the machine's disk as it is",
    place: nothing,
    lift: nothing,
    apply: nothing,
    traffic: async () => undefined,
  };
}

function checkGp3(engine: EngineInfo): void {
  const remedy = "run it as root on Linux, or measure only the bare disk: --disk bare";
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    throw new UserError(
      "limiting a disk to gp3's rate takes a loop device and control groups, which only root on Linux has",
      remedy,
    );
  }
  if (!existsSync(engine.rootDirectory)) {
    throw new UserError("Docker's volumes are not on this machine", remedy);
  }
  if (engine.cgroupVersion === 1 && !existsSync(join(BLKIO, "blkio.throttle.write_bps_device"))) {
    throw new UserError(
      `the kernel has no ${BLKIO}/blkio.throttle.write_bps_device`,
      "mount the blkio controller, or use --disk bare",
    );
  }
}

/** Writes what the kernel offers and skips files that an older one lacks. */
async function writeKernel(path: string, value: string): Promise<boolean> {
  if (!existsSync(path)) return false;
  await writeFile(path, value);
  return true;
}

async function limitRootGroup(device: string, on: boolean): Promise<void> {
  for (const direction of ["read", "write"]) {
    await writeFile(`${BLKIO}/blkio.throttle.${direction}_bps_device`, `${device} ${on ? GP3.bytesPerSecond : 0}`);
    await writeFile(`${BLKIO}/blkio.throttle.${direction}_iops_device`, `${device} ${on ? GP3.requestsPerSecond : 0}`);
  }
}

async function groupOf(container: string, controller: "blkio" | ""): Promise<string> {
  const pid = (await docker(["inspect", "--format", "{{.State.Pid}}", container])).trim();
  const groups = await readFile(`/proc/${pid}/cgroup`, "utf8");
  const line = groups.split("\n").find((text) => text.split(":")[1] === controller);
  if (!line) throw new Error(`container ${container} has no control group (${controller || "version 2"})`);
  return line.split(":").slice(2).join(":");
}

/**
 * Control groups version 1 do not limit buffered writes: kernel threads of the root group write them. So the limit is
 * on the root group, for our loop device alone, and the container's processes are moved there (for disk I/O only).
 */
async function moveToRootGroup(container: string): Promise<void> {
  const group = await groupOf(container, "blkio");
  if (group === "/") return;
  for (let round = 0; round < 50; round += 1) {
    const pids = (await readFile(`${BLKIO}${group}/cgroup.procs`, "utf8")).split("\n").filter(Boolean);
    if (!pids.length) return;
    for (const pid of pids) {
      // A process may have ended since.
      await writeFile(`${BLKIO}/cgroup.procs`, pid).catch(() => undefined);
    }
  }
  throw new Error(`the processes of ${container} could not be moved to the disk's limit`);
}

async function gp3Disk(engine: EngineInfo, image: string, sizeMiB: number): Promise<Disk> {
  checkGp3(engine);
  await docker(["volume", "create", IMAGE_VOLUME]);
  // Written once, so that later writes go to blocks which exist, as on a real volume.
  await helper(
    image,
    [`${IMAGE_VOLUME}:/image`],
    `dd if=/dev/zero of=/image/disk bs=4M count=${Math.ceil(sizeMiB / 4)} oflag=direct conv=fsync status=none`,
  );
  const mountpoint = (await docker(["volume", "inspect", "--format", "{{.Mountpoint}}", IMAGE_VOLUME])).trim();
  const loop = (await command("losetup", ["--find", "--show", "--direct-io=on", join(mountpoint, "disk")])).trim();
  const device = (await readFile(`/sys/block/${loop.replace("/dev/", "")}/dev`, "utf8")).trim();
  await command("mkfs.ext4", ["-q", "-F", "-m", "0", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", loop]);
  const volume = named("data-gp3");
  await docker(["volume", "create", "--opt", "type=ext4", "--opt", `device=${loop}`, volume]);

  const bdi = `/sys/class/bdi/${device}`;
  await writeKernel(`${bdi}/read_ahead_kb`, `${READ_AHEAD_KIB}`);
  let group: string | undefined;
  const version2 = async (on: boolean): Promise<void> => {
    const { bytesPerSecond: bps, requestsPerSecond: iops } = GP3;
    const limits = on ? `rbps=${bps} wbps=${bps} riops=${iops} wiops=${iops}` : "rbps=max wbps=max riops=max wiops=max";
    if (group && existsSync(group)) await writeFile(join(group, "io.max"), `${device} ${limits}`);
  };
  const dirtyLimit =
    (await writeKernel(`${bdi}/max_bytes`, `${DIRTY_BYTES}`)) && (await writeKernel(`${bdi}/strict_limit`, "1"));
  const limit = (on: boolean) => (engine.cgroupVersion === 1 ? limitRootGroup(device, on) : version2(on));
  await limit(true);
  return {
    name: "gp3",
    volume,
    mechanism:
      `ext4 on a loop device (direct I/O) over a file that was written in full; ${GP3.bytesPerSecond} B/s and ` +
      `${GP3.requestsPerSecond} requests/s for reads and as much again for writes, by ` +
      (engine.cgroupVersion === 1
        ? "blkio.throttle of the root control group (version 1), where the server's processes were moved too, so that buffered writes count"
        : "io.max of the server's control group (version 2)") +
      `; read-ahead ${READ_AHEAD_KIB} KiB; ` +
      (dirtyLimit
        ? `at most ${DIRTY_BYTES} bytes of dirty pages, as on a 4 GiB server`
        : "dirty pages as the host's memory allows"),
    async place(container) {
      if (engine.cgroupVersion === 1) return moveToRootGroup(container);
      group = join("/sys/fs/cgroup", await groupOf(container, ""));
      await version2(true);
    },
    lift: () => limit(false),
    apply: () => limit(true),
    async traffic() {
      // Reads: requests, merged, sectors, ms; writes the same. A sector here is always 512 bytes.
      const stat = await readFile(`/sys/block/${loop.replace("/dev/", "")}/stat`, "utf8");
      const fields = stat.trim().split(/\s+/).map(Number);
      return { readBytes: (fields[2] ?? 0) * 512, writtenBytes: (fields[6] ?? 0) * 512 };
    },
  };
}

/** Makes the disk; throws a UserError where this machine cannot limit one. */
export const openDisk = (name: DiskName, engine: EngineInfo, image: string, sizeMiB: number): Promise<Disk> =>
  name === "bare" ? bareDisk() : gp3Disk(engine, image, sizeMiB);

/** Measures the disk from inside of a container that is placed as the server is; throws where the limit does not hold. */
export async function proveDisk(disk: Disk, image: string, signal: AbortSignal): Promise<Proof> {
  const proof = await measureDisk(disk, image, signal);
  const tooFast =
    Math.max(proof.writeBytesPerSecond, proof.readBytesPerSecond) > 1.15 * GP3.bytesPerSecond ||
    Math.max(proof.write8kPerSecond, proof.read8kPerSecond) > 1.15 * GP3.requestsPerSecond;
  if (disk.name === "gp3" && tooFast) {
    throw new UserError(
      `the disk's limit does not hold on this kernel: measured ${JSON.stringify(proof)}`,
      "measure only the bare disk: --disk bare",
    );
  }
  return proof;
}

/** Takes every loop device and limit of the benchmark away, also those of a run that was killed. */
export async function releaseDisks(): Promise<void> {
  if (process.platform !== "linux") return;
  for (const name of (await readdir("/sys/block")).filter((block) => block.startsWith("loop"))) {
    const backing = await readFile(`/sys/block/${name}/loop/backing_file`, "utf8").catch(() => "");
    if (!backing.includes(`/${IMAGE_VOLUME}/`)) continue;
    const device = (await readFile(`/sys/block/${name}/dev`, "utf8")).trim();
    if (existsSync(join(BLKIO, "blkio.throttle.write_bps_device"))) await limitRootGroup(device, false);
    await writeKernel(`/sys/class/bdi/${device}/strict_limit`, "0");
    await writeKernel(`/sys/class/bdi/${device}/max_ratio`, "100");
    await command("losetup", ["--detach", `/dev/${name}`]);
  }
}
