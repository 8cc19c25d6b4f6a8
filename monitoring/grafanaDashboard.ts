/** The dashboard as Grafana's JSON, and the files that provision it. */
import { type Has, panelsOf } from "./panels.ts";
import { type Pace, windowsOf } from "./rules.ts";

const SOURCE = { type: "prometheus", uid: "prometheus" } as const;
/** Of a row's 24. */
const [WIDTH, HEIGHT, COLUMNS] = [8, 7, 3];

export function grafanaDashboard(stack: string, has: Has, pace: Pace): string {
  const panels = panelsOf(has).map(({ title, unit, lines }, index) => ({
    id: index + 1,
    type: "timeseries",
    title,
    datasource: SOURCE,
    gridPos: { x: (index % COLUMNS) * WIDTH, y: Math.floor(index / COLUMNS) * HEIGHT, w: WIDTH, h: HEIGHT },
    fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
    targets: lines.map(({ query, legend }, line) => ({
      refId: String.fromCharCode(65 + line),
      datasource: SOURCE,
      expr: query(windowsOf(pace).rate),
      legendFormat: legend,
    })),
  }));
  return JSON.stringify({
    uid: "cgraph",
    title: `CGraph database: ${stack}`,
    schemaVersion: 39,
    refresh: "15s",
    time: { from: "now-1h", to: "now" },
    panels,
  });
}

/** Files below Grafana's folder of provisioning; JSON is YAML too. */
export const grafanaFiles = (stack: string, has: Has, pace: Pace, prometheusUrl: string): Record<string, string> => ({
  "datasources/prometheus.yaml": JSON.stringify({
    apiVersion: 1,
    datasources: [{ name: "Prometheus", uid: SOURCE.uid, type: SOURCE.type, url: prometheusUrl, isDefault: true }],
  }),
  "dashboards/cgraph.yaml": JSON.stringify({
    apiVersion: 1,
    providers: [{ name: "cgraph", type: "file", options: { path: "/etc/grafana/provisioning/dashboards" } }],
  }),
  "dashboards/cgraph.json": grafanaDashboard(stack, has, pace),
});
