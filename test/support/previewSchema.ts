/** docs/preview.schema.json, held against what commands print. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import { ROOT } from "../../scripts/lib/paths.ts";

const schema = JSON.parse(readFileSync(join(ROOT, "docs/preview.schema.json"), "utf8")) as object;
const validate = new Ajv({ allErrors: true, strict: true }).compile(schema);

/** What is wrong with it; empty where nothing is. */
export const schemaErrors = (value: unknown): string[] =>
  validate(value)
    ? []
    : (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath}: ${message ?? ""}`);
