/** Everything that one call of the doctor has to say; `--json` prints it as it is (docs/doctor.md). */
import type { Counts, Finding, NotChecked } from "./finding.ts";

export interface DoctorReport {
  readonly database: string;
  /** `host:port`, without user and password. */
  readonly address: string;
  /** As server_version_num. */
  readonly version: number;
  readonly role: "primary" | "replica";
  readonly stack: string | null;
  /** Of a stack with shards: which cluster it is about. */
  readonly cluster: string | null;
  /** Replicas whose counts were added. */
  readonly replicas: readonly string[];
  /** ISO 8601, UTC. */
  readonly checkedAt: string;
  /** Since when the server has counted. */
  readonly statisticsSince: string;
  readonly seconds: number;
  readonly counts: Counts;
  /** Worst first. */
  readonly findings: readonly Finding[];
  readonly notChecked: readonly NotChecked[];
}

/** `17.5`, of 170005. */
export const versionText = (version: number): string => `${Math.floor(version / 10_000)}.${version % 10_000}`;

/** `2 critical, 1 warning, 3 for information`. */
export const countsText = ({ critical, warning, info }: Counts): string =>
  [
    ...(critical > 0 ? [`${critical} critical`] : []),
    ...(warning > 0 ? [`${warning} ${warning === 1 ? "warning" : "warnings"}`] : []),
    ...(info > 0 ? [`${info} for information`] : []),
  ].join(", ") || "nothing found";
