/** The CloudWatch dashboard's JSON: the guide's list, from AWS's own figures, the scheduled check's and the poolers'. */
import { PANELS } from "../../monitoring/panels.ts";
import { OWN_NAMESPACE, PERIOD_SECONDS } from "../../stacks/aws/alarms.ts";

/** Panels that CloudWatch has figures for. */
const FIGURES = PANELS.flatMap(({ title, cloudWatch }) => (cloudWatch ? [{ title, figure: cloudWatch }] : []));

const [WIDTH, HEIGHT, COLUMNS] = [8, 6, 3];

export interface DashboardServer {
  readonly name: string;
  readonly identifier: string;
}

/** A panel a figure, a line a server. */
export function dashboardBody(region: string, stack: string, servers: readonly DashboardServer[]): string {
  const widgets = FIGURES.map(({ title, figure }, index) => ({
    type: "metric",
    x: (index % COLUMNS) * WIDTH,
    y: Math.floor(index / COLUMNS) * HEIGHT,
    width: WIDTH,
    height: HEIGHT,
    properties: {
      title: "metric" in figure ? `${title} (${figure.metric})` : title,
      region,
      stat: "Average",
      period: PERIOD_SECONDS,
      metrics: servers.map(({ name, identifier }) =>
        "own" in figure
          ? [OWN_NAMESPACE, figure.own, "Stack", stack, "Server", name]
          : ["AWS/RDS", figure.metric, "DBInstanceIdentifier", identifier],
      ),
    },
  }));
  return JSON.stringify({ widgets });
}
