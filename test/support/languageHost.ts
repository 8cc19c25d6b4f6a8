import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { ROOT } from "../../scripts/lib/paths.ts";

const require = createRequire(import.meta.url);

/** The part of Pulumi's language protocol that a run needs; the npm package ships it without types. */
interface RunRequest {
  getProject(): string;
  getStack(): string;
  getMonitorAddress(): string;
  getArgsList(): string[];
  getOrganization(): string;
  getParallel(): number;
  getDryrun(): boolean;
  getConfigMap(): { entries(): Iterable<[string, string]> };
  getConfigsecretkeysList(): string[];
}
interface Response {
  setError(text: string): void;
  setBail(bail: boolean): void;
}
interface Messages {
  GetRequiredPluginsResponse: new () => unknown;
  RunResponse: new () => Response;
}

/**
 * A language host that runs index.ts with the npm package's own runner in a process of its own, as
 * pulumi-language-nodejs does under `pulumi up`. Give its address to the CLI as --client.
 */
export async function startLanguageHost(): Promise<{ address: string; stop: () => void }> {
  const messages = require("@pulumi/pulumi/proto/language_pb.js") as Messages;
  const services = require("@pulumi/pulumi/proto/language_grpc_pb.js") as {
    LanguageRuntimeService: grpc.ServiceDefinition;
  };
  const runner = require.resolve("@pulumi/pulumi/cmd/run/index.js");

  const runProgram = (request: RunRequest): Promise<number> =>
    new Promise((resolve) => {
      const engine = request.getArgsList()[0] ?? "";
      const flags = {
        monitor: request.getMonitorAddress(),
        engine,
        organization: request.getOrganization(),
        project: request.getProject(),
        stack: request.getStack(),
        pwd: ROOT,
        parallel: String(request.getParallel()),
      };
      const args = Object.entries(flags).flatMap(([key, value]) => [`--${key}`, value]);
      if (request.getDryrun()) args.push("--dry-run");
      const child = spawn(process.execPath, [runner, ...args, join(ROOT, "index.ts")], {
        cwd: ROOT,
        stdio: ["ignore", "ignore", "inherit"],
        env: {
          ...process.env,
          PULUMI_NODEJS_TYPESCRIPT: "false",
          PULUMI_CONFIG: JSON.stringify(Object.fromEntries(request.getConfigMap().entries())),
          PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(request.getConfigsecretkeysList()),
        },
      });
      child.on("exit", (code) => resolve(code ?? 1));
    });

  const answer = (_: unknown, done: grpc.sendUnaryData<unknown>) =>
    done(null, new messages.GetRequiredPluginsResponse());
  const server = new grpc.Server();
  server.addService(
    Object.fromEntries(
      Object.entries(services.LanguageRuntimeService).filter(
        ([name]) => name === "getRequiredPlugins" || name === "run",
      ),
    ),
    {
      getRequiredPlugins: answer,
      run: (call: grpc.ServerUnaryCall<RunRequest, unknown>, done: grpc.sendUnaryData<unknown>) => {
        void runProgram(call.request).then((code) => {
          const response = new messages.RunResponse();
          if (code !== 0) response.setError(`the program ended with ${code}`);
          done(null, response);
        });
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  return { address: `127.0.0.1:${port}`, stop: () => server.forceShutdown() };
}
