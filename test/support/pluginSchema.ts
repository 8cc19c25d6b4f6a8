/** What a resource plugin says of itself. */
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import * as grpc from "@grpc/grpc-js";
import type { Properties, Shape, Sides } from "./shapes.ts";

const require = createRequire(import.meta.url);

interface TypeSpec {
  readonly type?: string;
  readonly $ref?: string;
  readonly items?: TypeSpec;
  readonly additionalProperties?: TypeSpec;
  readonly oneOf?: readonly TypeSpec[];
}
interface ObjectSpec {
  readonly properties?: Readonly<Record<string, TypeSpec>>;
  readonly required?: readonly string[];
}
interface ResourceSpec extends ObjectSpec {
  readonly inputProperties?: Readonly<Record<string, TypeSpec>>;
  readonly requiredInputs?: readonly string[];
}
interface FunctionSpec {
  readonly inputs?: ObjectSpec;
  readonly outputs?: ObjectSpec;
}
interface Schema {
  readonly name: string;
  readonly provider: ResourceSpec;
  readonly resources: Readonly<Record<string, ResourceSpec>>;
  readonly functions: Readonly<Record<string, FunctionSpec>>;
  readonly types: Readonly<Record<string, ObjectSpec>>;
}

/** The part of Pulumi's provider protocol that is needed here; the npm package ships it without types. */
interface Client extends grpc.Client {
  getSchema(request: unknown, done: (error: grpc.ServiceError | null, answer: { getSchema(): string }) => void): void;
}
type ClientOf = new (address: string, credentials: grpc.ChannelCredentials, options: object) => Client;

/** Starts a plugin, asks it for its schema, and ends it. */
async function schemaOf(executable: string): Promise<Schema> {
  const { GetSchemaRequest } = require("@pulumi/pulumi/proto/provider_pb.js") as {
    GetSchemaRequest: new () => unknown;
  };
  const services = require("@pulumi/pulumi/proto/provider_grpc_pb.js") as { ResourceProviderClient: ClientOf };
  // It wants the address of an engine, and does not call it for this.
  const plugin = spawn(executable, ["127.0.0.1:1"], { stdio: ["ignore", "pipe", "ignore"] });
  try {
    const port = await new Promise<string>((resolve, reject) => {
      plugin.on("error", reject);
      plugin.on("exit", (code) => reject(new Error(`${executable} ended with ${code ?? "a signal"}`)));
      createInterface({ input: plugin.stdout }).once("line", resolve);
    });
    const client = new services.ResourceProviderClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
      "grpc.max_receive_message_length": -1,
    });
    const text = await new Promise<string>((resolve, reject) =>
      client.getSchema(new GetSchemaRequest(), (error, answer) =>
        error ? reject(error) : resolve(answer.getSchema()),
      ),
    ).finally(() => client.close());
    return JSON.parse(text) as Schema;
  } finally {
    plugin.kill();
  }
}

/** All that a plugin has, by type: resources, functions, and the provider itself. Sides are made when asked for. */
export async function pluginSides(executable: string): Promise<ReadonlyMap<string, () => Sides>> {
  const schema = await schemaOf(executable);

  function shapeOf(spec: TypeSpec): Shape {
    const { type, $ref, items, additionalProperties, oneOf } = spec;
    if (oneOf) return { kind: "document" };
    if (type === "array" && items) return { kind: "list", of: shapeOf(items) };
    if (type === "object" && additionalProperties) return { kind: "map", of: shapeOf(additionalProperties) };
    if ($ref?.startsWith("#/types/")) {
      const name = $ref.slice("#/types/".length);
      return { kind: "object", name, properties: () => propertiesOf(schema.types[name]) };
    }
    if ($ref === "pulumi.json#/Archive") return { kind: "archive" };
    if ($ref === "pulumi.json#/Any") return { kind: "any" };
    if (type === "integer" || type === "number") return { kind: "number" };
    if (type === "string" || type === "boolean") return { kind: type };
    throw new Error(`a type that is not understood: ${JSON.stringify(spec)}`);
  }
  const propertiesOf = ({ properties = {}, required = [] }: ObjectSpec = {}): Properties =>
    new Map(
      Object.entries(properties).map(([name, spec]) => [
        name,
        { shape: shapeOf(spec), required: required.includes(name) },
      ]),
    );
  const ofResource = (spec: ResourceSpec) => (): Sides => ({
    inputs: propertiesOf({ properties: spec.inputProperties ?? {}, required: spec.requiredInputs ?? [] }),
    outputs: propertiesOf(spec),
  });
  const ofFunction = (spec: FunctionSpec) => (): Sides => ({
    inputs: propertiesOf(spec.inputs),
    outputs: propertiesOf(spec.outputs),
  });

  const found = new Map([[`pulumi:providers:${schema.name}`, ofResource(schema.provider)]]);
  for (const [type, spec] of Object.entries(schema.resources)) found.set(type, ofResource(spec));
  for (const [type, spec] of Object.entries(schema.functions)) {
    // The others are methods of the provider.
    if (type.startsWith(`${schema.name}:`)) found.set(type, ofFunction(spec));
  }
  return found;
}
