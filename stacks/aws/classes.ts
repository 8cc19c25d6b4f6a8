/** AWS's server classes that stages are given, with their list prices. */
import { UserError } from "../../tuning/errors.ts";
import type { ServerSize } from "../guide.ts";

/** When the prices of this project were last looked at. They are on-demand, in US dollars, for us-east-1. */
export const PRICES_AS_OF = "2026-11";
/** Hours that AWS counts in a month. */
export const HOURS_PER_MONTH = 730;

export interface ServerClass {
  readonly name: string;
  readonly cpus: number;
  readonly memoryMiB: number;
  /** Pays with credits for more than a baseline of its CPUs. */
  readonly burstable: boolean;
  readonly usdPerHour: number;
}

const GiB = 1024;
const of = (name: string, cpus: number, memoryGiB: number, usdPerHour: number): ServerClass => ({
  name,
  cpus,
  memoryMiB: memoryGiB * GiB,
  burstable: name.includes(".t4g."),
  usdPerHour,
});

/** RDS for PostgreSQL, one availability zone. Current generations on Graviton. */
export const RDS_CLASSES: readonly ServerClass[] = [
  of("db.t4g.small", 2, 2, 0.032),
  of("db.t4g.medium", 2, 4, 0.065),
  of("db.t4g.large", 2, 8, 0.129),
  of("db.m7g.large", 2, 8, 0.168),
  of("db.r7g.large", 2, 16, 0.239),
  of("db.t4g.xlarge", 4, 16, 0.258),
  of("db.m7g.xlarge", 4, 16, 0.337),
  of("db.r7g.xlarge", 4, 32, 0.478),
  of("db.t4g.2xlarge", 8, 32, 0.517),
  of("db.m7g.2xlarge", 8, 32, 0.674),
  of("db.r7g.2xlarge", 8, 64, 0.956),
  of("db.m7g.4xlarge", 16, 64, 1.348),
  of("db.r7g.4xlarge", 16, 128, 1.912),
  of("db.m7g.8xlarge", 32, 128, 2.696),
  of("db.r7g.8xlarge", 32, 256, 3.824),
  of("db.m7g.12xlarge", 48, 192, 4.044),
  of("db.m7g.16xlarge", 64, 256, 5.392),
];

export interface ClassRequest extends Pick<ServerSize, "cpus" | "memoryMiB"> {
  /** Whether a burstable class will do: one that is busy all day would pay for credits. */
  readonly burstable: boolean;
}

/** The cheapest class that has at least these CPUs and this memory. Throws a UserError where none is that large. */
export function chooseClass(request: ClassRequest, classes: readonly ServerClass[] = RDS_CLASSES): ServerClass {
  const fitting = classes
    .filter(
      ({ cpus, memoryMiB, burstable }) =>
        cpus >= request.cpus && memoryMiB >= request.memoryMiB && (request.burstable || !burstable),
    )
    .sort((a, b) => a.usdPerHour - b.usdPerHour);
  const [best] = fitting;
  if (best) return best;
  throw new UserError(
    `no class known here has ${request.cpus} CPUs and ${request.memoryMiB} MiB`,
    `name one yourself: pulumi config set cgraph:instanceClass CLASS`,
  );
}

/** A class by its name. Throws a UserError where it is not known here. */
export function classNamed(name: string, classes: readonly ServerClass[] = RDS_CLASSES): ServerClass {
  const found = classes.find((one) => one.name === name);
  if (found) return found;
  throw new UserError(
    `cgraph:instanceClass is "${name}", which is not a class known here`,
    `use one of ${classes.map((one) => one.name).join(", ")}`,
  );
}
