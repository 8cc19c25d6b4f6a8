import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { run } from "../../scripts/lib/run.ts";
import { chooseGrafana } from "../../scripts/setup/grafanaImage.ts";
import { type ImageRegistry, imageRegistry } from "../support/imageRegistry.ts";

let registry: ImageRegistry;
/** An image in it; the engine asks a name under its host of nobody else. */
let image = "";
const nobody = async (): Promise<boolean> => false;
const patience = { answerMs: 2000, totalMs: 60_000 };
const asks = { enabled: true, grafana: "auto", grafanaImage: undefined } as const;
const isHere = async (): Promise<boolean> => (await run("docker", ["image", "inspect", image])).code === 0;

beforeAll(async () => {
  registry = await imageRegistry();
  image = `${registry.host}/cgraph/grafana-stand-in:1`;
});
afterAll(async () => {
  registry.close();
  await run("docker", ["image", "rm", image]);
});
beforeEach(async () => {
  await run("docker", ["image", "rm", image]);
  registry.behaviour = "serves";
});

describe("Grafana's image", () => {
  it("is pulled where the registry has it, and not again", async () => {
    expect(await chooseGrafana(asks, nobody, image, patience)).toEqual({ grafanaImage: image });
    expect(await isHere()).toBe(true);
    const asked = registry.asked.length;
    registry.behaviour = "refuses";
    expect(await chooseGrafana(asks, nobody, image, patience)).toEqual({ grafanaImage: image });
    expect(registry.asked.length).toBe(asked);
  });

  it("is done without where the registry refuses, does not answer, or is not there", async () => {
    registry.behaviour = "refuses";
    expect(await chooseGrafana(asks, nobody, image, patience)).toEqual({});
    registry.behaviour = "is silent";
    expect(await chooseGrafana(asks, nobody, image, patience)).toEqual({});
    expect(await chooseGrafana(asks, nobody, "127.0.0.1:1/cgraph/grafana-stand-in:1", patience)).toEqual({});
    expect(await isHere()).toBe(false);
  });

  it("must be had where the configuration says so", async () => {
    registry.behaviour = "refuses";
    const must = { ...asks, grafana: "true" } as const;
    await expect(chooseGrafana(must, nobody, image, patience)).rejects.toThrow(`${image} cannot be pulled`);
    registry.behaviour = "serves";
    expect(await chooseGrafana(must, nobody, image, patience)).toEqual({ grafanaImage: image });
  });

  it("is not looked for where nobody wants it, or another one is set", async () => {
    const asked = registry.asked.length;
    for (const config of [
      { ...asks, grafana: "false" },
      { ...asks, enabled: false },
      { ...asks, grafanaImage: "example/grafana:1" },
    ] as const) {
      expect(await chooseGrafana(config, nobody, image, patience)).toEqual({});
    }
    expect(registry.asked.length).toBe(asked);
  });

  it("stays with a Grafana that is there, and goes where nothing is left of it", async () => {
    registry.behaviour = "refuses";
    const kept = { ...asks, grafanaImage: image };
    const asked = registry.asked.length;
    expect(await chooseGrafana(kept, async () => true, image, patience)).toEqual({});
    expect(registry.asked.length).toBe(asked);
    expect(await chooseGrafana(kept, nobody, image, patience)).toEqual({ grafanaImage: null });
  });
});
