/** Every alert of a stack, with its own thresholds where it has them. */
import { EXIT, UserError } from "../../tuning/errors.ts";
import { type Alert, SEVERITIES, type Thresholds } from "./alert.ts";
import { CACHE_ALERTS, POOL_ALERTS, clusterAlerts } from "./clusters.ts";
import { MACHINE_ALERTS, backupAlerts } from "./machines.ts";
import { SERVER_ALERTS } from "./servers.ts";

export interface Watched {
  /** Of all clusters together. */
  readonly replicas: number;
  /** Clusters; default 1. */
  readonly primaries?: number;
  readonly pool: boolean;
  readonly cache: boolean;
  readonly backupIntervalHours: number;
}

/** Thresholds of a stack's own, by an alert's id. */
export type OwnThresholds = Readonly<Record<string, Partial<Thresholds>>>;

/** All alerts that there can be. */
export const everyAlert = (): Alert[] =>
  alertsOf({ replicas: 3, pool: true, cache: true, backupIntervalHours: 24 }, {});

/** The alerts of what is watched. */
export function alertsOf(watched: Watched, own: OwnThresholds): Alert[] {
  return [
    ...SERVER_ALERTS,
    ...(watched.replicas > 0 ? clusterAlerts(watched.replicas, watched.primaries) : []),
    ...(watched.pool ? POOL_ALERTS : []),
    ...(watched.cache ? CACHE_ALERTS : []),
    ...MACHINE_ALERTS,
    ...backupAlerts(watched.backupIntervalHours),
  ].map((alert) => ({ ...alert, thresholds: { ...alert.thresholds, ...own[alert.id] } }));
}

/** Reads `cgraph:alertThresholds`. Throws a UserError where it names no alert, or no number. */
export function readThresholds(value: unknown): OwnThresholds {
  const refuse = (what: string): UserError =>
    new UserError(
      `cgraph:alertThresholds: ${what}`,
      'give an object such as {"disk_usage": {"warning": 80, "critical": 90}}; null switches a severity off',
      EXIT.wrongUse,
    );
  if (value === undefined) return {};
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw refuse("it is no object");
  const known = everyAlert().map(({ id }) => id);
  for (const [id, pair] of Object.entries(value as Record<string, unknown>)) {
    if (!known.includes(id)) throw refuse(`there is no alert ${id}; there are ${known.join(", ")}`);
    if (typeof pair !== "object" || pair === null) throw refuse(`${id} is no object`);
    for (const [severity, limit] of Object.entries(pair)) {
      if (!(SEVERITIES as readonly string[]).includes(severity)) throw refuse(`${id} has no ${severity}`);
      if (limit !== null && typeof limit !== "number") throw refuse(`${id}'s ${severity} is no number`);
    }
  }
  return value as OwnThresholds;
}
