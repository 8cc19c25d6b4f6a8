/** Figures in words. */

/** Bytes as people read them: `1.5 GiB`. */
export function bytes(count: number): string {
  const units = ["B", "kiB", "MiB", "GiB", "TiB"];
  const power = Math.min(Math.floor(Math.log2(Math.max(count, 1)) / 10), units.length - 1);
  const value = count / 1024 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

/** Seconds as people read them: `4.5 s`, `40 s`, `12 min`, `3.5 h`, `9 days`. */
export function duration(seconds: number): string {
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = minutes / 60;
  return hours < 72 ? `${Number(hours.toFixed(1))} h` : `${Math.round(hours / 24)} days`;
}

/** A count as people read it: `950`, `12 300`, `4.5 million`. */
export function count(value: number): string {
  if (value >= 1e9) return `${(value / 1e9).toFixed(1)} thousand million`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} million`;
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, " ");
}

/** Milliseconds as people read them: `0.04 ms`, `12 ms`, `1.5 s`. */
export function milliseconds(value: number): string {
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return `${value >= 10 ? Math.round(value) : Number(value.toPrecision(2))} ms`;
}
