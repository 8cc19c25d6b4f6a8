/** Figures of CloudWatch's, as commands ask for them. */
import type { Figure } from "../../stacks/aws/alarms.ts";
import { aws } from "./cli.ts";

const MINUTES = 10;

type Datapoint = { readonly Timestamp: string } & Readonly<Partial<Record<Figure["statistic"], number>>>;

/** The newest of the last ten minutes; null where nobody says. */
export async function newestFigure(region: string, figure: Figure): Promise<number | null> {
  const { namespace, metric, dimensions, statistic } = figure;
  const now = Date.now();
  const time = (at: number): string => new Date(at).toISOString().replace(/\.\d+Z$/, "Z");
  const { Datapoints: points = [] } = await aws<{ Datapoints?: readonly Datapoint[] }>(region, [
    ...["cloudwatch", "get-metric-statistics", "--namespace", namespace, "--metric-name", metric],
    "--dimensions",
    ...Object.entries(dimensions).map(([name, value]) => `Name=${name},Value=${value}`),
    ...["--statistics", statistic, "--period", "60"],
    ...["--start-time", time(now - MINUTES * 60_000), "--end-time", time(now)],
  ]).catch((): { Datapoints?: readonly Datapoint[] } => ({}));
  const last = [...points].sort((a, b) => a.Timestamp.localeCompare(b.Timestamp)).at(-1);
  return last?.[statistic] ?? null;
}
