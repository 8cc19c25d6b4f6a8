/** What a stage consists of on a target, as plain data: no Pulumi in it. */
import { EXIT, UserError } from "../tuning/errors.ts";
import type { Hardware } from "../tuning/hardware.ts";
import { type Role, tunePostgres } from "../tuning/postgresql.ts";
import type { Settings } from "../tuning/setting.ts";
import type { StackConfig, Target } from "./config.ts";
import { GUIDE, type ServerSize, type StageNumber } from "./guide.ts";

/** The machine that local containers run on. */
export interface DockerHost {
  readonly cpus: number;
  readonly memoryMiB: number;
}

/** One PostgreSQL server. Its name says where it is, never its role: a promotion renames nothing. */
export interface PostgresNode {
  readonly name: string;
  readonly role: Role;
  readonly hardware: Hardware;
  readonly settings: Settings;
}

export interface Topology {
  readonly stage: StageNumber;
  readonly target: Target;
  readonly nodes: readonly PostgresNode[];
  /** What a person should know, such as that servers were scaled down. */
  readonly notes: readonly string[];
}

/** Share of a Docker host's memory that all servers together may take. */
const HOST_MEMORY_SHARE = 0.75;

/**
 * Scales servers down to what a Docker host has: CPUs to its cores (limits may overlap), memory in proportion so that
 * all together take at most three quarters of it, in steps of 64 MiB. Servers that fit stay as they are.
 */
export function fitToHost(sizes: readonly ServerSize[], host: DockerHost): ServerSize[] {
  const wanted = sizes.reduce((sum, size) => sum + size.memoryMiB, 0);
  const factor = Math.min(1, (host.memoryMiB * HOST_MEMORY_SHARE) / wanted);
  return sizes.map((size) => ({
    cpus: Math.min(size.cpus, host.cpus),
    memoryMiB: factor === 1 ? size.memoryMiB : Math.floor((size.memoryMiB * factor) / 64) * 64,
    diskGiB: size.diskGiB,
  }));
}

function sameSize(a: ServerSize, b: ServerSize): boolean {
  return a.cpus === b.cpus && a.memoryMiB === b.memoryMiB;
}

/**
 * The servers of a stack's stage on this host, with their settings.
 * Throws a UserError where `localSize` is `exact` and the host is smaller than the stage, or where settings do not fit.
 */
export function planTopology(config: StackConfig, host: DockerHost): Topology {
  const figures = GUIDE[config.stage];
  const wanted = figures.serverSize.value;
  const names = Array.from({ length: 1 + figures.replicasPerPrimary.value }, (_, index) => `pg${index}`);
  const fitted = fitToHost(
    names.map(() => wanted),
    host,
  );
  const notes: string[] = [];
  if (!fitted.every((size) => sameSize(size, wanted))) {
    const difference =
      `stage ${config.stage} wants ${names.length} × ${wanted.cpus} CPUs and ${wanted.memoryMiB} MiB; ` +
      `this Docker host has ${host.cpus} CPUs and ${host.memoryMiB} MiB`;
    if (config.localSize === "exact") {
      throw new UserError(
        `cgraph:localSize is exact, but ${difference}, of which the servers may take three quarters`,
        "set cgraph:localSize to fit, or use a larger Docker host",
        EXIT.refused,
      );
    }
    const got = fitted[0] ?? wanted;
    notes.push(`${difference}: each server gets ${got.cpus} CPUs and ${got.memoryMiB} MiB, and settings to match`);
  }
  const nodes = names.map((name, index): PostgresNode => {
    const hardware: Hardware = { ...(fitted[index] ?? wanted), storage: { kind: "ssd" } };
    const role: Role = index === 0 ? "primary" : "replica";
    const maxConnections =
      config.maxConnections ??
      (fitted[index]?.memoryMiB === wanted.memoryMiB ? figures.maxConnections.value : undefined);
    const settings = tunePostgres({
      hardware,
      role,
      postgresMajor: config.postgresVersion,
      ...(maxConnections === undefined ? {} : { maxConnections }),
      overrides: config.settings,
    });
    return { name, role, hardware, settings };
  });
  return { stage: config.stage, target: config.target, nodes, notes };
}
