/** Who is told of alerts: a web server that Alertmanager in a container reaches. */
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

interface Sent {
  readonly status: "firing" | "resolved";
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface AlertReceiver {
  readonly url: string;
  /** Waits until an alert with these labels has been sent as firing; gives it. */
  readonly fires: (labels: Readonly<Record<string, string>>, withinMs?: number) => Promise<Sent>;
  /** Waits until what has been sent as firing with these labels is sent as resolved. */
  readonly resolves: (labels: Readonly<Record<string, string>>, withinMs?: number) => Promise<Sent>;
  readonly close: () => void;
}

/** Listens on an address of the host that containers reach: their network's gateway. */
export async function alertReceiver(address: string): Promise<AlertReceiver> {
  const sent: Sent[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      sent.push(...(JSON.parse(body) as { alerts: Sent[] }).alerts);
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  const { port } = server.address() as { port: number };
  const wait = async (status: Sent["status"], labels: Sent["labels"], withinMs: number): Promise<Sent> => {
    const until = Date.now() + withinMs;
    for (;;) {
      const found = sent.findLast(
        (one) => one.status === status && Object.entries(labels).every(([key, value]) => one.labels[key] === value),
      );
      if (found) return found;
      if (Date.now() > until) {
        const told = sent.map((one) => `${one.status} ${one.labels["alertname"]} ${one.labels["severity"]}`);
        throw new Error(`${JSON.stringify(labels)} is not ${status}; told were: ${[...new Set(told)].join(", ")}`);
      }
      await sleep(200);
    }
  };
  return {
    url: `http://${address}:${port}/`,
    fires: (labels, withinMs = 90_000) => wait("firing", labels, withinMs),
    resolves: (labels, withinMs = 120_000) => wait("resolved", labels, withinMs),
    close: () => server.close(),
  };
}
