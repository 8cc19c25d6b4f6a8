/** A stack on AWS, asked through its access host where this machine is not in its network. */
import type { StackFacts } from "../../doctor/facts.ts";
import type { AwsStackValues } from "../../stacks/aws/outputs.ts";
import type { Endpoint } from "../../stacks/outputs.ts";
import { COMPUTED_BY_RDS, MANAGED_BY_RDS } from "../../tuning/rds.ts";
import { connectOver } from "../aws/client.ts";
import { type Way, withWay } from "../aws/reach.ts";
import { loginOf } from "../lib/login.ts";
import { type Place, ROLES, type Replica, commandOf } from "./place.ts";
import { APPLICATION, Session } from "./session.ts";

/** Ways to several endpoints at once, in their order. */
async function withWays<T>(
  values: AwsStackValues,
  endpoints: readonly Endpoint[],
  work: (ways: readonly Way[]) => Promise<T>,
): Promise<T> {
  const [first, ...others] = endpoints;
  if (!first) return work([]);
  return withWay(values, first, (way) => withWays(values, others, (ways) => work([way, ...ways])));
}

export async function withAwsStack<T>(
  stack: string,
  values: AwsStackValues,
  work: (place: Place) => Promise<T>,
): Promise<T> {
  const { write } = values.endpoints;
  const primary = values.nodes.find(({ host }) => host === write.host);
  // Other clusters' servers are other databases.
  const others = values.nodes.filter(
    (node) => node !== primary && (node.cluster ?? null) === (primary?.cluster ?? null),
  );
  const stackFacts = (server: string | null): StackFacts => ({
    name: stack,
    target: "aws",
    command: commandOf(stack),
    followers: others.map(({ name }) => name),
    settings: (values.nodes.find(({ name }) => name === server) ?? primary)?.settings ?? {},
    otherwiseSet: [...Object.keys(MANAGED_BY_RDS), ...Object.keys(COMPUTED_BY_RDS)],
    pool: values.endpoints.pool === null ? null : undefined,
    verification: undefined,
  });
  return withWays(values, [write, ...others], async ([way, ...ways]) => {
    const sessions: Session[] = [];
    const connect = async (to: Way, role: keyof typeof ROLES): Promise<Session> => {
      const session = new Session(await connectOver(to, loginOf(values, ROLES[role]), APPLICATION));
      sessions.push(session);
      return session;
    };
    if (!way) throw new Error("the stack has no endpoint that writes");
    try {
      const monitor = await connect(way, "monitor");
      const reader = await connect(way, "reader");
      const replicas: Replica[] = [];
      for (const [index, to] of ways.entries()) {
        const session = await connect(to, "monitor");
        replicas.push({ name: others[index]?.name ?? to.host, ask: (select) => session.ask(select) });
      }
      const address = `${write.host}:${write.port}`;
      return await work({
        ...{ address, server: primary?.name ?? null, cluster: null },
        ...{ monitor, reader, replicas, stackFacts },
      });
    } finally {
      await Promise.all(sessions.map((session) => session.close()));
    }
  });
}
