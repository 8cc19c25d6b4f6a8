/** Who is told of alerts: a web server that Alertmanager in a container reaches. */
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

type Labels = Readonly<Record<string, string>>;

interface Sent {
  readonly status: "firing" | "resolved";
  readonly labels: Labels;
  readonly annotations: Labels;
}

export interface AlertReceiver {
  readonly url: string;
  /** Waits until no alert with these labels fires any more: what comes then has a new cause. */
  readonly quiet: (labels: Labels, withinMs?: number) => Promise<void>;
  /** Waits until an alert with these labels fires; gives what was sent. */
  readonly fires: (labels: Labels, withinMs?: number) => Promise<Sent>;
  /** Waits until each alert with these labels that was sent as firing has been sent as resolved; there must be one. */
  readonly resolves: (labels: Labels, withinMs?: number) => Promise<void>;
  readonly close: () => void;
}

const has = (one: Sent, labels: Labels): boolean =>
  Object.entries(labels).every(([key, value]) => one.labels[key] === value);

/** Listens on an address of the host that containers reach: their network's gateway. */
export async function alertReceiver(address: string): Promise<AlertReceiver> {
  /** The last word about each alert, by all of its labels. */
  const last = new Map<string, Sent>();
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      for (const one of (JSON.parse(body) as { alerts: Sent[] }).alerts) {
        last.set(JSON.stringify(Object.entries(one.labels).sort()), one);
      }
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  const { port } = server.address() as { port: number };
  const told = (labels: Labels): Sent[] => [...last.values()].filter((one) => has(one, labels));
  const firing = (labels: Labels): Sent[] => told(labels).filter(({ status }) => status === "firing");
  const wait = async <T>(what: string, withinMs: number, look: () => T | undefined): Promise<T> => {
    const until = Date.now() + withinMs;
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (Date.now() > until) {
        const all = told({}).map(({ status, labels }) => `${status} ${labels["alertname"]} ${labels["severity"]}`);
        throw new Error(`${what}: not within ${withinMs / 1000} s; told were: ${[...new Set(all)].sort().join(", ")}`);
      }
      await sleep(200);
    }
  };
  const over = (labels: Labels, needed: number) => () =>
    told(labels).length >= needed && firing(labels).length === 0 ? true : undefined;
  return {
    url: `http://${address}:${port}/`,
    quiet: async (labels, withinMs = 120_000) => {
      await wait(`${JSON.stringify(labels)} is quiet`, withinMs, over(labels, 0));
    },
    fires: (labels, withinMs = 90_000) =>
      wait(`${JSON.stringify(labels)} is firing`, withinMs, () => firing(labels)[0]),
    resolves: async (labels, withinMs = 120_000) => {
      await wait(`${JSON.stringify(labels)} is resolved`, withinMs, over(labels, 1));
    },
    close: () => server.close(),
  };
}
