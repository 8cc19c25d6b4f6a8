/** How fast a disk really is, measured with dd from inside of a container that is placed as the server is. */
import { docker, named } from "./docker.ts";
import type { Disk } from "./disk.ts";

export interface Proof {
  /** 512 MiB written through the page cache, then fsync. */
  readonly writeBytesPerSecond: number;
  /** 256 MiB read past the page cache. */
  readonly readBytesPerSecond: number;
  /** 8 KiB blocks past the page cache, one after the other. */
  readonly write8kPerSecond: number;
  readonly read8kPerSecond: number;
  /** 8 KiB blocks, each made durable before the next: what one client's commits can reach. */
  readonly durable8kPerSecond: number;
}

const SCRIPT = `
until [ -e /tmp/placed ]; do sleep 0.05; done
rate() { # name, amount, command…
  local name=$1 amount=$2 from=$EPOCHREALTIME; shift 2
  "$@" 2>/dev/null
  awk -v n="$name" -v a="$amount" -v f="$from" -v t="$EPOCHREALTIME" 'BEGIN { printf "%s %.0f\\n", n, a / (t - f) }'
}
cd /data
rate writeBytesPerSecond $((512 << 20)) dd if=/dev/zero of=proof bs=1M count=512 conv=fsync
rate readBytesPerSecond $((256 << 20)) dd if=proof of=/dev/null bs=1M count=256 iflag=direct
rate write8kPerSecond 6000 dd if=/dev/zero of=proof bs=8k count=6000 oflag=direct conv=notrunc
rate read8kPerSecond 6000 dd if=proof of=/dev/null bs=8k count=6000 iflag=direct
rate durable8kPerSecond 600 dd if=/dev/zero of=proof bs=8k count=600 oflag=dsync conv=notrunc
rm proof
`;

/** Runs the measurement; takes about 15 s on a limited disk. */
export async function measureDisk(disk: Disk, image: string, signal: AbortSignal): Promise<Proof> {
  const name = named("proof");
  await docker(
    [
      "run",
      "--detach",
      "--name",
      name,
      "--network",
      "none",
      "--user",
      "0",
      "--volume",
      `${disk.volume}:/data`,
      "--entrypoint",
      "bash",
      image,
      "-euc",
      SCRIPT,
    ],
    { signal },
  );
  try {
    await disk.place(name);
    await docker(["exec", name, "touch", "/tmp/placed"], { signal });
    await docker(["wait", name], { signal });
    const rates: Record<string, number> = {};
    for (const line of (await docker(["logs", name], { signal })).trim().split("\n")) {
      const [key, value] = line.split(" ");
      if (key) rates[key] = Number(value);
    }
    const rate = (key: keyof Proof): number => {
      const value = rates[key];
      if (value === undefined || !Number.isFinite(value)) throw new Error(`the disk's ${key} could not be measured`);
      return value;
    };
    return {
      writeBytesPerSecond: rate("writeBytesPerSecond"),
      readBytesPerSecond: rate("readBytesPerSecond"),
      write8kPerSecond: rate("write8kPerSecond"),
      read8kPerSecond: rate("read8kPerSecond"),
      durable8kPerSecond: rate("durable8kPerSecond"),
    };
  } finally {
    await docker(["rm", "--force", name]);
  }
}
