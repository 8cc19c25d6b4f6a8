import { text } from "node:stream/consumers";
import { checkKeys } from "../../stacks/config.ts";
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
import { PROJECT } from "../lib/stackFiles.ts";

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

/** A secret as somebody gives it: never as an argument, which others see in the list of processes. */
async function readSecret(key: string): Promise<string> {
  if (process.stdin.isTTY) process.stderr.write(`The value of ${key}, then Enter and Ctrl-D: `);
  const value = (await text(process.stdin)).trim();
  if (value === "") throw new UserError(`no value for ${key} came on standard input`, "pipe it in, or type it");
  return value;
}

/** Keeps a secret in the stack's configuration, encrypted with the stack's key; makes the stack where there is none. */
async function setSecret(key: string, flags: ConfigFlags): Promise<void> {
  checkKeys([key]);
  const value = await readSecret(key);
  const lock = lockStack(flags.stack, "config set");
  try {
    const { openOrCreateStack } = await import("../lib/stack.ts");
    await (await openOrCreateStack(flags.stack)).setConfig(`${PROJECT}:${key}`, { value, secret: true });
  } finally {
    lock.release();
  }
}

/** `config set`: one key, when the whole still goes together; nothing runs differently before `up` or `config apply`. */
export async function setConfigKey(
  key: string,
  value: string | undefined,
  flags: ConfigFlags & { secret?: boolean },
): Promise<void> {
  if (flags.secret && value === undefined) {
    await setSecret(plain(key), flags);
    if (flags.json) printJson({ set: plain(key) });
    else print("Set, encrypted.");
    return;
  }
  if (value === undefined || flags.secret) {
    throw new UserError(
      flags.secret ? "a secret stands in no command line" : `no value for ${key}`,
      flags.secret ? `give it on standard input: … | ./cgraph-db config set ${key} --secret` : "give it after the key",
    );
  }
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
