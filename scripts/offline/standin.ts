/**
 * A stand-in for AWS, to plan without an account: Pulumi starts it as its aws plugin. It starts the real plugin
 * (CGRAPH_AWS_PLUGIN) and passes everything on, so that the real one checks, plans and compares. Only what would call AWS
 * is answered here: creates, updates, reads and deletes that are no previews.
 */
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import * as grpc from "@grpc/grpc-js";
import { UNKNOWN, fillPlanned, madeId } from "./fill.ts";

const require = createRequire(import.meta.url);

/** The parts of Pulumi's provider protocol that are needed here; the npm package ships them without types. */
interface Struct {
  toJavaScript(): Record<string, unknown>;
}
interface CrudRequest {
  getPreview(): boolean;
  setPreview(preview: boolean): void;
  getUrn(): string;
  getId(): string;
  getInputs(): Struct;
  /** Of a create: its inputs; of a read: the state. */
  getProperties(): Struct;
  /** Of an update: its new inputs. */
  getNews(): Struct;
  clone(): CrudRequest;
}
interface CrudResponse {
  getId(): string;
  setId(id: string): void;
  getProperties(): Struct;
  setProperties(properties: Struct): void;
  setInputs(inputs: Struct): void;
}
type Call = grpc.ServerUnaryCall<CrudRequest, unknown>;
type Done = (error: grpc.ServiceError | Partial<grpc.StatusObject> | null, value?: unknown) => void;
type Client = grpc.Client &
  Record<
    string,
    (
      request: unknown,
      metadata: grpc.Metadata,
      done: (error: grpc.ServiceError | null, response: CrudResponse) => void,
    ) => void
  >;

const messages = require("@pulumi/pulumi/proto/provider_pb.js") as Record<string, new () => CrudResponse>;
const services = require("@pulumi/pulumi/proto/provider_grpc_pb.js") as {
  ResourceProviderService: grpc.ServiceDefinition;
  ResourceProviderClient: new (address: string, credentials: grpc.ChannelCredentials, options: object) => Client;
};
const { Empty } = require("google-protobuf/google/protobuf/empty_pb.js") as { Empty: new () => unknown };
const { Struct: StructMessage } = require("google-protobuf/google/protobuf/struct_pb.js") as {
  Struct: { fromJavaScript(value: Record<string, unknown>): Struct };
};
const message = (name: string): CrudResponse => {
  const Message = messages[name];
  if (!Message) throw new Error(`the protocol has no ${name}`);
  return new Message();
};

const UNLIMITED = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 };
const real = spawn(process.env["CGRAPH_AWS_PLUGIN"] ?? "", process.argv.slice(2), {
  stdio: ["ignore", "pipe", "inherit"],
});
real.on("error", (error) => {
  process.stderr.write(`the real aws plugin does not start: ${error.message}\n`);
  process.exit(1);
});
real.on("exit", (code) => process.exit(code ?? 1));
const port = await new Promise<string>((resolve) => createInterface({ input: real.stdout }).once("line", resolve));
const client = new services.ResourceProviderClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), UNLIMITED);

let schema: Promise<Record<string, { properties?: Record<string, { type?: string }> }>> | undefined;
async function propertiesOf(urn: string): Promise<Record<string, { type?: string }>> {
  schema ??= new Promise((resolve, reject) => {
    const request = message("GetSchemaRequest");
    client["getSchema"]?.(request, new grpc.Metadata(), (error, response) => {
      if (error) reject(error);
      else {
        const text = (response as unknown as { getSchema(): string }).getSchema();
        resolve((JSON.parse(text) as { resources: Awaited<NonNullable<typeof schema>> }).resources);
      }
    });
  });
  const type = urn.split("::")[2]?.split("$").at(-1) ?? "";
  return (await schema)[type]?.properties ?? {};
}

/** Has the real plugin plan an operation, and gives the plan back as what happened. */
function carryOut(operation: "create" | "update", answer: "CreateResponse" | "UpdateResponse") {
  return (call: Call, done: Done): void => {
    const { request, metadata } = call;
    const method = client[operation]?.bind(client);
    if (request.getPreview()) {
      method?.(request, metadata, done);
      return;
    }
    const plan = request.clone();
    plan.setPreview(true);
    method?.(plan, metadata, (error, planned) => {
      if (error) {
        done(error);
        return;
      }
      void propertiesOf(request.getUrn()).then((properties) => {
        const urn = request.getUrn();
        const inputs = operation === "create" ? request.getProperties() : request.getNews();
        const values = fillPlanned(planned.getProperties().toJavaScript(), inputs.toJavaScript(), urn, properties);
        const response = message(answer);
        if (operation === "create") {
          const given = planned.getId();
          const id = given && given !== UNKNOWN ? given : typeof values["id"] === "string" ? values["id"] : madeId(urn);
          response.setId(id);
          values["id"] = id;
        }
        response.setProperties(StructMessage.fromJavaScript(values));
        done(null, response);
      }, done);
    });
  };
}

const passOn: grpc.UntypedServiceImplementation = {};
for (const [name, { requestStream, responseStream }] of Object.entries(services.ResourceProviderService)) {
  passOn[name] =
    requestStream || responseStream
      ? (call: { end(): void }) => call.end()
      : (call: Call, done: Done) => client[name]?.(call.request, call.metadata, done);
}
/** What the real plugin would ask AWS before it plans anything, it is told not to ask. */
const NO_CALLS = {
  accessKey: "offline",
  secretKey: "offline",
  skipCredentialsValidation: "true",
  skipMetadataApiCheck: "true",
  skipRegionValidation: "true",
  skipRequestingAccountId: "true",
};

interface ConfigureRequest {
  getArgs(): Struct;
  setArgs(args: Struct): void;
  getVariablesMap(): { set(key: string, value: string): void };
}

function configure(call: grpc.ServerUnaryCall<ConfigureRequest, unknown>, done: Done): void {
  const { request, metadata } = call;
  request.setArgs(StructMessage.fromJavaScript({ ...request.getArgs().toJavaScript(), ...NO_CALLS }));
  for (const [key, value] of Object.entries(NO_CALLS)) request.getVariablesMap().set(`aws:config:${key}`, value);
  client["configure"]?.(request, metadata, done);
}

const server = new grpc.Server(UNLIMITED);
server.addService(services.ResourceProviderService, {
  ...passOn,
  configure,
  create: carryOut("create", "CreateResponse"),
  update: carryOut("update", "UpdateResponse"),
  delete: (_: Call, done: Done) => done(null, new Empty()),
  read: ({ request }: Call, done: Done) => {
    const response = message("ReadResponse");
    response.setId(request.getId());
    response.setProperties(request.getProperties());
    response.setInputs(request.getInputs());
    done(null, response);
  },
});
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) => {
  if (error) throw error;
  process.stdout.write(`${bound}\n`);
});
process.on("SIGTERM", () => process.exit(0));
process.on("exit", () => real.kill());
