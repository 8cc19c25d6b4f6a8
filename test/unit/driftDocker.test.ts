import { describe, expect, it } from "vitest";
import { type Finding, Remedies } from "../../migration/drift.ts";
import {
  type FoundContainer,
  type FoundDocker,
  type WantedContainer,
  type WantedDocker,
  dockerDrift,
} from "../../migration/driftDocker.ts";

const remedies = new Remedies("s");
const brief = (findings: readonly Finding[]): string[] =>
  findings.map(({ where, what, expected, found }) => `${where} ${what}: ${expected} -> ${found}`);
const mends = (findings: readonly Finding[]): string[] => findings.map(({ remedy }) => remedy);

describe("containers, networks and volumes", () => {
  const container: WantedContainer = {
    ...{ id: "1", name: "c-pool", resource: "pool", image: "sha256:a", runs: true, restart: "unless-stopped" },
    ...{ cpus: 1, memoryMiB: 256, memorySwapMiB: 256, volumes: { "/etc": "v" }, networks: { n: ["pool"] } },
    ports: [{ internal: 5432, external: 6000, ip: "127.0.0.1" }],
    other: { "cpu-shares": "none" },
  };
  const wanted: WantedDocker = {
    ...{ stack: "s", installation: "i", containers: [container], networks: [{ id: "n1", name: "n" }] },
    ...{ volumes: ["v", "c-pg0-data"], images: [{ id: "sha256:a", name: "image:1" }] },
  };
  const labelled = (id: string, name = id, installation = "i", stack = "s") => ({ id, name, stack, installation });
  const there: FoundContainer = { ...container, status: "running" };
  const clean: FoundDocker = {
    containers: [there],
    allContainers: [labelled("1", "c-pool"), labelled("7", "other", "", "t")],
    networks: [labelled("n1", "n")],
    volumes: [labelled("v"), labelled("c-pg0-data")],
    images: ["sha256:a"],
  };
  const told = (change: Partial<FoundDocker>) => dockerDrift(wanted, { ...clean, ...change }, remedies);
  const changed = (change: object) => told({ containers: [{ ...there, ...change }] });

  it("that are as they should be give no finding", () => {
    expect(told({})).toEqual([]);
  });
  it.each([
    [{ status: "exited" }, "pool container: running -> exited", "docker start c-pool"],
    [{ status: "paused" }, "pool container: running -> paused", "docker unpause c-pool"],
    [
      { memoryMiB: 128, memorySwapMiB: 256 },
      "pool memory limit: 256 MiB -> 128 MiB, with swap 256 MiB",
      "docker update --memory 256m --memory-swap 256m c-pool",
    ],
    [{ cpus: 0.5 }, "pool CPU limit: 1 -> 0.5", "docker update --cpus 1 c-pool"],
    [{ restart: "no" }, "pool restart policy: unless-stopped -> no", "docker update --restart unless-stopped c-pool"],
    [{ name: "c-other" }, "pool name: c-pool -> c-other", "docker rename c-other c-pool"],
    [{ other: { "cpu-shares": "7" } }, "pool cpu-shares: none -> 7", remedies.anew("c-pool")],
    [{ image: "sha256:b" }, "pool image: sha256:a -> sha256:b", remedies.anew("c-pool")],
    [{ ports: [] }, "pool published ports: 127.0.0.1:6000->5432 -> none", remedies.anew("c-pool")],
    [{ volumes: {} }, "pool volume at /etc: v -> none", remedies.anew("c-pool")],
    [{ networks: {} }, "pool network: n -> not connected", "docker network connect --alias pool n c-pool"],
    [
      { networks: { n: [] } },
      "pool name on the network: pool -> none",
      "docker network disconnect n c-pool && docker network connect --alias pool n c-pool",
    ],
    [
      { networks: { n: ["pool", "1"], x: [] } },
      "pool network: not connected -> x",
      "docker network disconnect x c-pool",
    ],
  ])("that were changed: %o", (change, text, remedy) => {
    const found = changed(change);
    expect(brief(found)).toEqual([text]);
    expect(mends(found)).toEqual([remedy]);
  });
  it("of an engine that cannot bound swap are no finding for that", () => {
    expect(changed({ memorySwapMiB: undefined })).toEqual([]);
  });
  it("that are gone", () => {
    const up = "./cgraph-db up --stack s";
    const none = { containers: [], allContainers: [], networks: [], volumes: [], images: [] };
    const found = told(none);
    expect(brief(found)).toEqual([
      "pool container: running -> removed",
      "n network: there -> removed",
      "v volume: there -> removed",
      "c-pg0-data volume: there -> removed",
      "image:1 image: there -> removed",
    ]);
    expect(mends(found)).toEqual([up, up, up, expect.stringContaining("--delete-data"), up]);
    const replaced = told({ containers: [], allContainers: [labelled("9", "c-pool", "", "")] });
    expect(mends(replaced)).toEqual([`docker rm --force c-pool && ${up}`]);
  });
  it("that carry the stack's label without being in its state", () => {
    const found = told({
      allContainers: [...clean.allContainers, labelled("2", "stray"), labelled("3", "foreign", "j")],
      volumes: [...clean.volumes, labelled("c-pg3-data")],
    });
    expect(found.map(({ where, what, remedy }) => [where, what, remedy])).toEqual([
      ["stray", "unknown container", "./cgraph-db up --stack s"],
      ["foreign", "unknown container", "docker rm --force foreign"],
      ["c-pg3-data", "unknown volume", "docker volume rm c-pg3-data"],
    ]);
  });
});
