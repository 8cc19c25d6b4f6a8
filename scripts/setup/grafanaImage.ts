/** Grafana's image: not built by us, so only where this machine's Docker has it or can pull it. */
import { EXIT, UserError } from "../../tuning/errors.ts";
import type { MonitoringConfig } from "../../stacks/monitoringConfig.ts";
import { note, step } from "../lib/progress.ts";
import { type Patience, isHere, pullImage } from "./pullImage.ts";

/** The official image in the version that the dashboard is made for; a test puts a local registry here. */
export const GRAFANA_IMAGE = process.env["CGRAPH_GRAFANA_IMAGE"] || "grafana/grafana:12.2.0";

const PATIENCE: Patience = { answerMs: 2_000, totalMs: 300_000 };

/** What `up` writes to the stack's configuration; null takes the key out. */
export interface GrafanaChoice {
  readonly grafanaImage?: string | null;
}

/**
 * Whether a stack gets Grafana: where its image is here, or can be pulled. The answer is kept in the stack's
 * configuration, so that previews and later programs need not ask. What a person has set stays, and so does a Grafana
 * that is there (`exists`), whether the registry answers today or not. Throws a UserError where `grafana` is true and
 * the image cannot be had.
 */
export async function chooseGrafana(
  config: Pick<MonitoringConfig, "enabled" | "grafana" | "grafanaImage">,
  exists: () => Promise<boolean>,
  image = GRAFANA_IMAGE,
  patience = PATIENCE,
): Promise<GrafanaChoice> {
  const { enabled, grafana, grafanaImage } = config;
  if (!enabled || grafana === "false" || (grafanaImage !== undefined && grafanaImage !== image)) return {};
  if (await isHere(image)) return { grafanaImage: image };
  if (grafanaImage !== undefined && (await exists())) return {};
  const why = await step("Grafana's image", async () => {
    const failure = await pullImage(image, patience);
    return { value: failure, done: failure === undefined ? image : "not to be had" };
  });
  if (why === undefined) return { grafanaImage: image };
  if (grafana === "true") {
    throw new UserError(
      `Grafana's image ${image} cannot be pulled: ${why}`,
      "give Docker access to the registry, or go on without: ./cgraph-db config set grafana auto",
      EXIT.failed,
    );
  }
  note(
    `  note: no Grafana, ${image} cannot be pulled (${why}); a later up adds it, config set grafana false never asks`,
  );
  return grafanaImage === undefined ? {} : { grafanaImage: null };
}
