/** Names and labels of what this project makes in Docker. All begin with `cgraph-`, and carry the stack as a label. */

export const STACK_LABEL = "cgraph.stack";
export const INSTALLATION_LABEL = "cgraph.installation";

/** A resource of a stack: `cgraph-dev-pg0`, `cgraph-dev-pg0-data`. */
export const dockerName = (stack: string, ...parts: readonly (string | number)[]): string =>
  ["cgraph", stack, ...parts].join("-");

/** A node's data volume. The first has no number; a restore makes the next, and the old one stays. */
export const dataVolumeName = (stack: string, node: string, generation: number): string =>
  dockerName(stack, node, "data", ...(generation === 1 ? [] : [generation]));

/** The driver's options of one data volume, from those of the configuration, where `{volume}` stands for its name. */
export const driverOptions = (
  options: Readonly<Record<string, string>> | undefined,
  volume: string,
): Record<string, string> | undefined =>
  options &&
  Object.fromEntries(Object.entries(options).map(([key, value]) => [key, value.replaceAll("{volume}", volume)]));

/**
 * Labels of everything a stack makes: its name, and the id in its state, which tells it from a stack of the same name
 * that another checkout or another state has made on the same engine.
 */
export const stackLabels = <T>(stack: string, installation: T): { label: string; value: string | T }[] => [
  { label: STACK_LABEL, value: stack },
  { label: INSTALLATION_LABEL, value: installation },
];
