import { EXIT, UserError } from "../../tuning/errors.ts";
import { lockStack } from "../lib/lock.ts";
import { print, printJson, table } from "../lib/print.ts";
import {
  checkTopology,
  checkedConfig,
  readStackConfig,
  unsetStackConfig,
  writeStackConfig,
} from "../lib/stackConfig.ts";

interface ConfigFlags {
  readonly stack: string;
  readonly json?: boolean;
}

const plain = (key: string): string => key.replace(/^cgraph:/, "");

/** `config show`: what the stack's configuration sets; the rest has its defaults. */
export async function showConfig(flags: ConfigFlags): Promise<void> {
  const config = readStackConfig(flags.stack);
  if (flags.json) printJson(config);
  else if (Object.keys(config).length === 0) print("Everything has its default (docs/configuration.md).");
  else print(table([["key", "value"], ...Object.entries(config)]));
}

/** `config set`: one key, when the whole still goes together; nothing runs differently before `up` or `config apply`. */
export async function setConfigKey(key: string, value: string, flags: ConfigFlags): Promise<void> {
  const change = { [plain(key)]: value };
  const lock = lockStack(flags.stack, "config set");
  try {
    await checkTopology(checkedConfig(flags.stack, change));
    writeStackConfig(flags.stack, change);
  } finally {
    lock.release();
  }
  if (flags.json) printJson(change);
  else print(`Set. ./cgraph-db preview shows what it changes, ./cgraph-db config apply applies it.`);
}

/** `config unset`: back to the default. */
export async function unsetConfigKey(key: string, flags: ConfigFlags): Promise<void> {
  const lock = lockStack(flags.stack, "config unset");
  try {
    if (!(plain(key) in readStackConfig(flags.stack))) {
      throw new UserError(
        `cgraph:${plain(key)} is not set in stack ${flags.stack}`,
        "see ./cgraph-db config show",
        EXIT.wrongUse,
      );
    }
    unsetStackConfig(flags.stack, plain(key));
  } finally {
    lock.release();
  }
  if (flags.json) printJson({ unset: plain(key) });
  else print("Unset: it has its default again.");
}
