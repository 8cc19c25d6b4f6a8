/**
 * CloudWatch's alarms and dashboards in memory, over the protocols that AWS's SDKs speak to it today: Smithy RPC v2 with
 * CBOR, which moto does not know, and JSON.
 */
import { type IncomingMessage, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { decode, encode } from "cborg";

type Fields = Readonly<Record<string, unknown>>;

export interface CloudWatch {
  readonly url: string;
  /** What was put, by name. */
  readonly alarms: ReadonlyMap<string, Fields>;
  readonly dashboards: ReadonlyMap<string, string>;
  readonly stop: () => Promise<void>;
}

const isJson = ({ headers }: IncomingMessage): boolean => headers["content-type"]?.includes("json") === true;

async function body(request: IncomingMessage): Promise<Fields> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  const bytes = Buffer.concat(parts);
  if (bytes.length === 0) return {};
  return (isJson(request) ? JSON.parse(bytes.toString()) : decode(bytes, { allowIndefinite: true })) as Fields;
}

const arn = (kind: string, name: string): string => `arn:aws:cloudwatch:us-east-1:123456789012:${kind}:${name}`;

export async function startCloudWatch(): Promise<CloudWatch> {
  const alarms = new Map<string, Fields>();
  const dashboards = new Map<string, string>();
  const tags = new Map<string, unknown>();
  const names = (value: unknown): string[] => (Array.isArray(value) ? (value as string[]) : []);
  const operations: Readonly<Record<string, (input: Fields) => Fields | undefined>> = {
    PutMetricAlarm: ({ Tags, ...alarm }) => {
      const name = String(alarm["AlarmName"]);
      alarms.set(name, { ActionsEnabled: true, ...alarm, AlarmArn: arn("alarm", name), StateValue: "OK" });
      tags.set(arn("alarm", name), Tags ?? []);
      return {};
    },
    DescribeAlarms: ({ AlarmNames, AlarmNamePrefix, StateValue }) => ({
      MetricAlarms: [...alarms.values()].filter(
        (alarm) =>
          (AlarmNames === undefined || names(AlarmNames).includes(String(alarm["AlarmName"]))) &&
          String(alarm["AlarmName"]).startsWith(typeof AlarmNamePrefix === "string" ? AlarmNamePrefix : "") &&
          (StateValue === undefined || alarm["StateValue"] === StateValue),
      ),
      CompositeAlarms: [],
    }),
    DeleteAlarms: ({ AlarmNames }) => {
      for (const name of names(AlarmNames)) alarms.delete(name);
      return {};
    },
    PutDashboard: ({ DashboardName, DashboardBody }) => {
      dashboards.set(String(DashboardName), String(DashboardBody));
      return { DashboardValidationMessages: [] };
    },
    GetDashboard: ({ DashboardName }) => {
      const name = String(DashboardName);
      const found = dashboards.get(name);
      return found === undefined
        ? undefined
        : { DashboardName: name, DashboardBody: found, DashboardArn: arn("dashboard", name) };
    },
    DeleteDashboards: ({ DashboardNames }) => {
      for (const name of names(DashboardNames)) dashboards.delete(name);
      return {};
    },
    ListTagsForResource: ({ ResourceARN }) => ({ Tags: tags.get(String(ResourceARN)) ?? [] }),
    TagResource: () => ({}),
    UntagResource: () => ({}),
  };
  const server = createServer((request, response) => {
    void body(request).then((input) => {
      const target = request.headers["x-amz-target"];
      const operation = (typeof target === "string" ? target.split(".") : request.url?.split("/"))?.at(-1) ?? "";
      const output = operations[operation]?.(input);
      const answer = output ?? { __type: "com.amazonaws.cloudwatch#ResourceNotFound", message: operation };
      if (isJson(request)) {
        response.writeHead(output ? 200 : 400, { "content-type": "application/x-amz-json-1.0" });
        response.end(JSON.stringify(answer));
      } else {
        const headers = { "smithy-protocol": "rpc-v2-cbor", "content-type": "application/cbor" };
        response.writeHead(output ? 200 : 404, headers);
        response.end(encode(answer));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    alarms,
    dashboards,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
