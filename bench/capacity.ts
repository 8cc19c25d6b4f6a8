/**
 * What one chat statement costs a server: CPU, pages, WAL, room. docs/capacity.md reckons with these figures
 * (capacity/measured.ts); a test compares them with the file that a run leaves in bench/results.
 */
import { type Cost, CapacityServer } from "./capacityServer.ts";
import { LOOKUP, type Script, SCRIPTS, resetReadMarks } from "./capacityScripts.ts";
import type { Report } from "./report.ts";
import { median } from "./results.ts";

export interface CapacityOptions {
  readonly runs: number;
  readonly rows: number;
  readonly seconds: number;
  /** What its containers and volumes are called. */
  readonly name?: string;
  readonly onProgress: (text: string) => void;
}

const round = (value: number, digits = 1): number => Number(value.toFixed(digits));

/** Full-page images a statement, where indexes are so large that two statements seldom meet the same page. */
async function pageImages(server: CapacityServer, script: Script): Promise<{ bytes: number; pages: number }> {
  await server.checkpoint();
  const from = await server.lsn();
  const statements = await server.transactions(script, 250);
  const byManager = await server.walByManager(from);
  // GIN appends where each word's newest messages are: as many pages as there are words, however many messages there are.
  const scattered = byManager.filter(({ manager }) => manager !== "Gin");
  return {
    bytes: scattered.reduce((sum, { imageBytes }) => sum + imageBytes, 0) / statements,
    pages: scattered.reduce((sum, { images }) => sum + images, 0) / statements,
  };
}

async function measure(server: CapacityServer, script: Script, options: CapacityOptions) {
  const images = script.writes ? await pageImages(server, script) : { bytes: 0, pages: 0 };
  if (script.marks) await resetReadMarks(server);
  else await server.checkpoint();
  const runs: Cost[] = [];
  for (let run = 0; run < options.runs; run++) {
    runs.push(await server.cost(script, options.seconds));
    if (script.marks) await resetReadMarks(server);
  }
  const cost = (of: (one: Cost) => number): number => median(runs.map(of));
  return {
    name: script.name,
    title: script.title,
    cpuMs: runs.map(({ cpuMs }) => round(cpuMs, 4)),
    pages: round(cost(({ pages }) => pages)),
    walRecordBytes: script.writes ? Math.round(cost(({ recordBytes }) => recordBytes)) : 0,
    walImageBytes: Math.round(images.bytes),
    imagePages: round(images.pages, 2),
  };
}

/** Measures on one server with one CPU. Leaves no container and no volume behind. */
export async function benchCapacity(options: CapacityOptions): Promise<Report> {
  const server = new CapacityServer(options.name ?? "cgraph-bench-capacity");
  try {
    await server.start();
    options.onProgress(`${options.rows} messages, written and then marked as read`);
    const sizes = await server.load(options.rows);
    const statements = [];
    for (const script of SCRIPTS) {
      statements.push(await measure(server, script, options));
      options.onProgress(`${script.name}: ${statements.at(-1)?.cpuMs.join(", ")} ms of CPU`);
    }
    const pooler = await server.poolerCost(LOOKUP, options.seconds);
    const cacheEntryBytes = await server.cacheEntryBytes();
    const replay = await server.replay(SCRIPTS, options.seconds);
    return {
      name: "capacity",
      title: "What one statement costs a server",
      date: new Date().toISOString(),
      method: [
        "PostgreSQL 17 with CGraph's schema in a container with one CPU, its settings for WAL as in every stage; pgbench with 4 clients in another, by a Unix socket, each statement parsed and planned anew as Citus sends them.",
        "CPU: of the server's whole control group (background processes too) over the statements of a run. An inserted message's text is looked up by key first, which counts.",
        "WAL: records of a run, and full-page images of the first thousand statements after a checkpoint, without those of the search index, as in tables so large that two statements seldom meet the same page.",
        "Sizes: messages came in by INSERT with all indexes there, a tenth at a time; each tenth was then marked as read and vacuumed. Everything is in memory.",
      ],
      panels: [
        {
          title: "CPU a statement, milliseconds",
          unit: "ms",
          groups: statements.map(({ title, cpuMs }) => ({ title, series: [{ name: "server", values: cpuMs }] })),
        },
        {
          title: "CPU of PgBouncer a statement, milliseconds",
          unit: "ms",
          groups: [{ title: "lookup of a user", series: [{ name: "server", values: [round(pooler, 4)] }] }],
        },
      ],
      facts: {
        statements: statements.map(({ cpuMs, ...rest }) => ({ ...rest, cpuMs: round(median(cpuMs), 4) })),
        sizes,
        poolerCpuMs: round(pooler, 4),
        cacheEntryBytes,
        replay,
      },
    };
  } finally {
    await server.remove();
  }
}
