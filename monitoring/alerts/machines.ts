/** Alerts about disks, machines, backups, and monitoring itself. */
import { guideThresholds } from "../../stacks/guide.ts";
import { SERVER } from "../serverNames.ts";
import { type Alert, SOON } from "./alert.ts";

const AVAILABLE = 'node_filesystem_avail_bytes{volume!=""}';
export const DISK_USE = `100 * (1 - ${AVAILABLE} / node_filesystem_size_bytes{volume!=""})`;
/**
 * Hours until a volume is full at the slower pace of two periods, one after the other, of a volume that is half full. A
 * load, an index or the WAL of a busy minute grow in one of them; without both there is no pace to speak of.
 */
function hoursUntilFull(period: string): string {
  const [now, before] = ["", ` offset ${period}`].map((earlier) => `deriv(${AVAILABLE}[${period}]${earlier})`);
  // Of two falling lines the greater slope is the slower. What one byte a second fills takes for ever.
  return `${AVAILABLE} / clamp_min(-((${now} > ${before}) or ${before}), 1) / 3600 and ${DISK_USE} > 50`;
}
export const cpuUse = (window: string): string =>
  `100 * (1 - avg by (host) (rate(node_cpu_seconds_total{mode="idle"}[${window}])))`;
export const ioWait = (window: string): string =>
  `100 * avg by (host) (rate(node_cpu_seconds_total{mode="iowait"}[${window}]))`;
/** Of what each server may use. */
export const serverCpu = (window: string): string =>
  `100 * rate(cgraph_container_cpu_seconds_total{container=~"${SERVER}"}[${window}]) / on (container) cgraph_container_cpus`;
export const SERVER_MEMORY = `100 * cgraph_container_memory_bytes{container=~"${SERVER}"} / cgraph_container_memory_limit_bytes`;
export const MEMORY_FREE = "100 * node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes";

export const MACHINE_ALERTS: readonly Alert[] = [
  {
    id: "disk_usage",
    title: "Disk usage",
    unit: "%",
    bad: "above",
    thresholds: guideThresholds("disk_usage"),
    figure: () => DISK_USE,
    meaning: "a full disk stops PostgreSQL",
    source: "guide",
  },
  {
    id: "disk_full_soon",
    title: "Hours until the disk is full",
    unit: "hours",
    bad: "below",
    thresholds: { warning: 24, critical: 4 },
    figure: ({ halfTrend }) => hoursUntilFull(halfTrend),
    meaning: "at the growth of the last hour there is no room left by then",
    source: "a day is time to act in; below half of a disk, and for half an hour, growth is a load, not a pace",
  },
  {
    id: "cpu",
    title: "CPU of a server",
    unit: "%",
    bad: "above",
    thresholds: { warning: 80, critical: 95 },
    figure: ({ rate }) => serverCpu(rate),
    meaning: "statements queue for processors, and all become slower at once",
    source: "above 80 percent queues grow faster than the load",
  },
  {
    id: "memory",
    title: "Memory of a server",
    unit: "%",
    bad: "above",
    thresholds: { warning: 90, critical: 97 },
    figure: () => SERVER_MEMORY,
    meaning: "at its limit the kernel ends one of its processes, and PostgreSQL restarts all of them",
    source: "what can be dropped is not counted: a tenth is what a few large sorts take",
  },
  {
    id: "io_wait",
    title: "Waiting for the disk",
    unit: "%",
    bad: "above",
    thresholds: { warning: 20, critical: 50 },
    figure: ({ rate }) => ioWait(rate),
    meaning: "processors have work and wait for the disk",
    source: "the guide watches it without a number: a fifth of the time is where the disk begins to set the pace",
  },
  {
    id: "host_memory",
    title: "Memory available on the host",
    unit: "%",
    bad: "below",
    thresholds: { warning: 10, critical: 5 },
    figure: () => MEMORY_FREE,
    meaning: "the kernel ends processes when there is none, PostgreSQL's among them",
    source: "page cache counts as available: below a tenth there is next to none left",
  },
  {
    id: "exporter_down",
    title: "Exporter down",
    unit: "exporters",
    bad: "above",
    thresholds: { warning: 0, critical: null },
    figure: () => "1 - up",
    holds: SOON,
    meaning: "what it measures is not watched",
    source: "an alert that has no figures does not fire",
  },
];

/** `intervalHours`: how often a backup is taken. */
export const backupAlerts = (intervalHours: number): Alert[] => [
  {
    id: "archiving_behind",
    title: "WAL waits to be archived",
    unit: "s",
    bad: "above",
    thresholds: { warning: 300, critical: 1800 },
    figure: () => "cgraph_archiver_behind_seconds",
    holds: SOON,
    meaning: "what has not been archived cannot be restored, and fills the disk",
    source: "archive_timeout is a minute: five of them are not chance",
  },
  {
    id: "backup_age",
    title: "Hours since the last backup",
    unit: "hours",
    bad: "above",
    thresholds: { warning: intervalHours * 1.5, critical: intervalHours * 3 },
    figure: () => "(time() - cgraph_backup_newest_timestamp_seconds) / 3600",
    meaning: "a restore has more WAL to replay, and the last backup grows old",
    source: "half an interval late is late; three are a schedule that does not run",
  },
  {
    id: "backup_unverified",
    title: "Days since a backup was verified",
    unit: "days",
    bad: "above",
    thresholds: { warning: 7, critical: 14 },
    figure: () => "(time() - cgraph_backup_verified_timestamp_seconds) / 86400",
    meaning: "nobody knows whether the backups can be restored",
    source: "a week is how long backups are kept (guide): older ones are gone by then",
  },
  {
    id: "backup_damaged",
    title: "Backups found damaged",
    unit: "backups",
    bad: "above",
    thresholds: { warning: null, critical: 0 },
    figure: () => "cgraph_backup_damaged",
    holds: SOON,
    meaning: "the last one that was verified cannot be restored, or what it holds is damaged",
    source: "there may be no other way back",
  },
];
