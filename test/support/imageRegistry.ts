/** Stands in for a registry of images: one that has an image, one that refuses, one that never answers. */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../scripts/lib/run.ts";

const MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
const digestOf = (content: Buffer): string => `sha256:${createHash("sha256").update(content).digest("hex")}`;

export interface ImageRegistry {
  /** HOST:PORT, which begins the names of its images. Docker speaks HTTP to 127.0.0.1. */
  readonly host: string;
  /** Paths that were asked for. */
  readonly asked: readonly string[];
  behaviour: "serves" | "refuses" | "is silent";
  readonly close: () => void;
}

/** An image with one file and nothing to run: its parts by their digests, and its manifest. */
async function smallImage(): Promise<{ blobs: Map<string, Buffer>; manifest: Buffer }> {
  const folder = mkdtempSync(join(tmpdir(), "cgraph-image-"));
  try {
    writeFileSync(join(folder, "file"), "a file");
    await run("tar", ["-C", folder, "-cf", join(folder, "layer.tar"), "file"]);
    const layer = readFileSync(join(folder, "layer.tar"));
    const config = Buffer.from(
      JSON.stringify({
        architecture: "amd64",
        os: "linux",
        config: {},
        rootfs: { type: "layers", diff_ids: [digestOf(layer)] },
      }),
    );
    const part = (mediaType: string, content: Buffer) => ({
      mediaType,
      size: content.length,
      digest: digestOf(content),
    });
    const manifest = {
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: part("application/vnd.docker.container.image.v1+json", config),
      layers: [part("application/vnd.docker.image.rootfs.diff.tar", layer)],
    };
    return {
      blobs: new Map([config, layer].map((content) => [digestOf(content), content])),
      manifest: Buffer.from(JSON.stringify(manifest)),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export async function imageRegistry(): Promise<ImageRegistry> {
  const { blobs, manifest } = await smallImage();
  const asked: string[] = [];
  const state = { behaviour: "serves" as ImageRegistry["behaviour"] };
  const server = createServer((request, response) => {
    const path = request.url ?? "";
    asked.push(path);
    if (state.behaviour === "is silent") return;
    if (state.behaviour === "refuses") return void response.writeHead(403).end();
    if (path === "/v2/") return void response.end("{}");
    const blob = blobs.get(path.split("/blobs/")[1] ?? "");
    if (blob) return void response.end(blob);
    if (!path.includes("/manifests/")) return void response.writeHead(404).end();
    response.setHeader("Docker-Content-Digest", digestOf(manifest));
    response.setHeader("Content-Length", manifest.length);
    response.setHeader("Content-Type", MANIFEST).end(request.method === "HEAD" ? undefined : manifest);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    get behaviour() {
      return state.behaviour;
    },
    set behaviour(behaviour) {
      state.behaviour = behaviour;
    },
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
