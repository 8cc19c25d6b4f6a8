/** The disks that servers keep their data on. */
import type { Disk } from "../../citus/nodes.ts";
import type { NodeOutput } from "../../stacks/outputs.ts";
import { docker } from "../lib/docker.ts";

/** Of each server, asked in its container; several servers may share one. */
export const disksOf = (nodes: readonly Pick<NodeOutput, "container">[]): Promise<Disk[]> =>
  Promise.all(
    nodes.map(async ({ container }) => {
      const df = ["df", "-B1", "--output=source,size,avail", "/var/lib/postgresql"];
      const last = (await docker(["exec", container, ...df])).trim().split("\n").at(-1) ?? "";
      const [source = "", size, avail] = last.split(/\s+/);
      return { source, sizeBytes: Number(size), freeBytes: Number(avail) };
    }),
  );
