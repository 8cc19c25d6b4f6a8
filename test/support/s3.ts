/** A server that speaks S3 over TLS, for containers: moto, behind a certificate of its own. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type RequestOptions, request } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../scripts/lib/run.ts";
import { hostAddress } from "./hostAddress.ts";
import { startMoto } from "./moto.ts";

export interface S3Server {
  /** HOST:PORT as containers reach it. */
  readonly endpoint: string;
  /** The certificate of the authority that signed the server's, as PEM. */
  readonly ca: string;
  /** Every object's key in a bucket. */
  readonly keys: (bucket: string) => Promise<string[]>;
  /** Answers 503 to whatever comes, or serves again. */
  readonly fail: (failing: boolean) => void;
  readonly stop: () => Promise<void>;
}

async function certificate(name: string): Promise<{ key: string; cert: string }> {
  const folder = mkdtempSync(join(tmpdir(), "cgraph-s3-"));
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const made = await run("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
    ...["-subj", `/CN=${name}`, "-keyout", key, "-out", cert],
  ]);
  try {
    if (made.code !== 0) throw new Error(`openssl: ${made.stderr}`);
    return { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Starts it with empty buckets, on the address of the host that containers reach. */
export async function startS3(buckets: readonly string[]): Promise<S3Server> {
  const moto = await startMoto();
  const url = moto.env["AWS_ENDPOINT_URL"] ?? "";
  for (const bucket of buckets) await fetch(`${url}/${bucket}`, { method: "PUT" });
  const address = await hostAddress();
  const { key, cert } = await certificate(address);
  const target = new URL(url);
  let failing = false;
  const server = createServer({ key, cert }, (incoming, outgoing) => {
    if (failing) {
      outgoing.writeHead(503).end();
      return;
    }
    const options: RequestOptions = {
      ...{ host: target.hostname, port: target.port, method: incoming.method, path: incoming.url },
      headers: incoming.headers,
    };
    const passed = request(options, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    passed.on("error", () => outgoing.writeHead(502).end());
    incoming.pipe(passed);
  });
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  return {
    endpoint: `${address}:${(server.address() as AddressInfo).port}`,
    ca: cert,
    async keys(bucket) {
      const text = await (await fetch(`${url}/${bucket}?list-type=2&max-keys=100000`)).text();
      return [...text.matchAll(/<Key>([^<]+)<\/Key>/g)].map(([, name]) => name ?? "");
    },
    fail: (now) => (failing = now),
    async stop() {
      server.closeAllConnections();
      server.close();
      await moto.stop();
    },
  };
}
