import { UserError } from "./errors.ts";

/** What a PostgreSQL server stores its data on. */
export type Storage = { readonly kind: "ssd" } | { readonly kind: "hdd"; readonly spindles: number };

/** The hardware that one PostgreSQL server has to itself. */
export interface Hardware {
  /** CPUs, fractions allowed (a container's limit): 0.25 to 192. */
  readonly cpus: number;
  /** MiB: 256 to 1 572 864 (1.5 TiB). */
  readonly memoryMiB: number;
  /** GiB of the volume that holds data and WAL. */
  readonly diskGiB: number;
  readonly storage: Storage;
}

/** PostgreSQL versions that tuning knows. */
export type PostgresMajor = 16 | 17;
export const POSTGRES_MAJORS: readonly PostgresMajor[] = [16, 17];

const LIMITS = { cpus: [0.25, 192], memoryMiB: [256, 1_572_864], diskGiB: [1, 65_536] } as const;

/** Refuses hardware that PostgreSQL cannot be tuned for. Throws a UserError that names the property and its range. */
export function checkHardware(hardware: Hardware): void {
  for (const [property, [min, max]] of Object.entries(LIMITS)) {
    const value = hardware[property as keyof typeof LIMITS];
    if (!Number.isFinite(value) || value < min || value > max) {
      throw new UserError(
        `hardware: ${property} is ${value}; a PostgreSQL server needs at least ${min}, and at most ${max} is known here`,
        `give the server between ${min} and ${max} (${property})`,
      );
    }
  }
  if (
    hardware.storage.kind === "hdd" &&
    !(Number.isInteger(hardware.storage.spindles) && hardware.storage.spindles > 0)
  ) {
    throw new UserError(
      `hardware: spindles is ${hardware.storage.spindles}`,
      "give the number of disks, a whole number from 1",
    );
  }
}
