/** The way to a server that has no public address: straight, from within its network; else through the access host. */
import { spawn } from "node:child_process";
import { connect, createServer } from "node:net";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import type { Endpoint } from "../../stacks/outputs.ts";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { note } from "../lib/progress.ts";
import { authoritiesOf } from "./authorities.ts";
import { aws, needAwsCli } from "./cli.ts";

/** Where to connect to. The certificate is the server's own: its name is `host`, wherever the connection goes. */
export interface Way {
  readonly host: string;
  readonly address: string;
  readonly port: number;
  /** The file with the authorities of its certificate; default: RDS's. */
  readonly authorities?: string;
}

const DIRECT_MS = 1500;
const TUNNEL_MS = 60_000;
const PLUGIN =
  "https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html";

/** Whether a connection opens within a moment. */
export const opens = (host: string, port: number, timeoutMs = DIRECT_MS): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (well: boolean): void => {
      socket.destroy();
      resolve(well);
    };
    socket.setTimeout(timeoutMs, () => end(false));
    socket.once("connect", () => end(true)).once("error", () => end(false));
  });

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });

/** The access host's instance. Throws a UserError where there is none. */
async function accessInstance({ region, accessHost }: AwsStackValues): Promise<string> {
  if (accessHost === null) {
    throw new UserError(
      "the database has no public address, and this stack has no access host",
      "call this from a server that is in the clients' security group, or set cgraph:accessHost to true",
      EXIT.failed,
    );
  }
  const filters = [`Name=tag:Name,Values=${accessHost}`, "Name=instance-state-name,Values=running"];
  const { Reservations: reservations = [] } = await aws<{
    Reservations?: readonly { readonly Instances?: readonly { readonly InstanceId: string }[] }[];
  }>(region, ["ec2", "describe-instances", "--filters", ...filters]);
  const instance = reservations.flatMap(({ Instances: instances = [] }) => instances)[0]?.InstanceId;
  if (instance === undefined) {
    throw new UserError(
      `the access host ${accessHost} does not run`,
      "AWS starts another within minutes; see the Auto Scaling group of that name",
      EXIT.failed,
    );
  }
  return instance;
}

interface Tunnel {
  readonly port: number;
  readonly close: () => void;
}

async function openTunnel(values: AwsStackValues, { host, port }: Endpoint): Promise<Tunnel> {
  await needAwsCli("the way to the database");
  const instance = await accessInstance(values);
  const localPort = await freePort();
  const parameters = { host: [host], portNumber: [String(port)], localPortNumber: [String(localPort)] };
  const child = spawn(
    "aws",
    [
      ...["ssm", "start-session", "--region", values.region, "--target", instance],
      ...["--document-name", "AWS-StartPortForwardingSessionToRemoteHost", "--parameters", JSON.stringify(parameters)],
    ],
    // A group of its own: the CLI starts Session Manager's plugin, which ends with it.
    { stdio: ["ignore", "pipe", "pipe"], detached: true },
  );
  let ended = false;
  const close = (): void => {
    process.off("exit", close);
    if (ended || child.pid === undefined) return;
    ended = true;
    try {
      process.kill(-child.pid, "SIGTERM");
    } catch {
      // It has ended by itself.
    }
  };
  process.on("exit", close);
  let said = "";
  const hear = (chunk: Buffer): void => {
    said += chunk.toString();
  };
  child.stdout.on("data", hear);
  child.stderr.on("data", hear);
  child.on("exit", () => (ended = true)).on("error", (error) => (said += error.message));
  const deadline = Date.now() + TUNNEL_MS;
  while (!/Waiting for connections/.test(said)) {
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- set by the child's end meanwhile
    if (ended || Date.now() > deadline) {
      close();
      throw new UserError(
        `no way through the access host ${instance}: ${said.trim().split("\n").at(-1) || "no answer within a minute"}`,
        /SessionManagerPlugin is not found/i.test(said)
          ? `install Session Manager's plugin: ${PLUGIN}`
          : "you need the right ssm:StartSession on it; a new host takes two minutes to be ready",
        EXIT.failed,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return { port: localPort, close };
}

/** Works with a way to an endpoint, which is closed afterwards. */
export async function withWay<T>(
  values: AwsStackValues,
  endpoint: Endpoint,
  work: (way: Way) => Promise<T>,
): Promise<T> {
  const { host, port } = endpoint;
  const own = values.citus ? { authorities: await authoritiesOf(values) } : {};
  if (await opens(host, port)) return work({ host, address: host, port, ...own });
  const tunnel = await openTunnel(values, endpoint);
  note(`  through ${values.accessHost ?? ""} to ${host}:${port}`);
  try {
    return await work({ host, address: "127.0.0.1", port: tunnel.port, ...own });
  } finally {
    tunnel.close();
  }
}
