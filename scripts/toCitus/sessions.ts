/** Sessions on every server that a switch asks, open before clients wait for it. */
import { currentPrimary } from "../lib/cluster.ts";
import { SuperuserSession } from "../lib/superuserSession.ts";
import { DATABASE } from "../../components/roles.ts";
import type { CitusPlaces } from "./places.ts";

/** The database that every server has, and in which Citus is not. */
const NEUTRAL = "postgres";

export interface Sessions {
  /** By the source's name: in a database of which nobody takes its writes. */
  readonly sources: ReadonlyMap<string, SuperuserSession>;
  /** The same in the application's database. */
  readonly inside: ReadonlyMap<string, SuperuserSession>;
  /** By the node's name. */
  readonly nodes: ReadonlyMap<string, SuperuserSession>;
}

export function sessionOf(all: ReadonlyMap<string, SuperuserSession>, name: string): SuperuserSession {
  const found = all.get(name);
  if (!found) throw new Error(`no session with ${name}`);
  return found;
}

/** Works with sessions that are open and have answered. */
export async function withSessions<T>(places: CitusPlaces, work: (sessions: Sessions) => Promise<T>): Promise<T> {
  const opened: SuperuserSession[] = [];
  const open = async (container: string, database: string): Promise<SuperuserSession> => {
    const session = new SuperuserSession(container, database);
    opened.push(session);
    await session.ask("SELECT 1");
    return session;
  };
  try {
    const sources = await Promise.all(
      places.sources.map(async ({ name, values }) => {
        const { container } = await currentPrimary(values);
        return [name, await open(container, NEUTRAL), await open(container, DATABASE)] as const;
      }),
    );
    const nodes = await Promise.all(
      places.nodes.map(
        async ({ name, values }) => [name, await open((await currentPrimary(values)).container, NEUTRAL)] as const,
      ),
    );
    return await work({
      sources: new Map(sources.map(([name, neutral]) => [name, neutral])),
      inside: new Map(sources.map(([name, , inside]) => [name, inside])),
      nodes: new Map(nodes),
    });
  } finally {
    for (const session of opened) session.end();
  }
}
