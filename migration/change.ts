/** What a Pulumi run does, or would do, to one resource: read from the engine's events. */

/** One input of a resource that would be another. */
export interface PropertyChange {
  /** Pulumi's path: `instanceClass`, `parameters[3].value`. */
  readonly path: string;
  readonly kind: "add" | "update" | "delete";
  /** Whether this is why the resource is replaced. */
  readonly replaces: boolean;
}

export interface Change {
  readonly urn: string;
  readonly type: string;
  /** create, update, replace, delete, … as Pulumi names it; `same` is left out. */
  readonly op: string;
  /** Whether the resource holds data or a secret that opens data. */
  readonly stateful: boolean;
  /** Whether the person at the keyboard has named it: it may be deleted or replaced, whatever it holds. */
  readonly allowed?: boolean;
  readonly properties: readonly PropertyChange[];
  /** Inputs before and after; secret ones as `[secret]`. Empty where there is none. */
  readonly before: Readonly<Record<string, unknown>>;
  readonly after: Readonly<Record<string, unknown>>;
}

interface StateMetadata {
  readonly protect?: boolean;
  readonly inputs?: Readonly<Record<string, unknown>>;
}

/** The part of Pulumi's event that is read here, so that recorded ones can be classified without Pulumi. */
export interface StepMetadata {
  readonly op: string;
  readonly urn: string;
  readonly type: string;
  /** Null where there is none. */
  readonly old?: StateMetadata | null;
  readonly new?: StateMetadata | null;
  readonly keys?: readonly string[];
  readonly diffs?: readonly string[];
  readonly detailedDiff?: Readonly<Record<string, { readonly diffKind: string }>>;
}

const VOLUME = "docker:index/volume:Volume";
/** Volumes that are written anew whenever they are needed: configuration, sockets. */
const REWRITTEN = /-(config|run)$/;
const STATEFUL = new Set([
  "random:index/randomId:RandomId",
  "aws:rds/instance:Instance",
  "aws:ebs/volume:Volume",
  "aws:s3/bucket:Bucket",
  "aws:kms/key:Key",
  "aws:backup/vault:Vault",
]);
const SECRET = "aws:secretsmanager/secret:Secret";
const PASSWORD = "random:index/randomPassword:RandomPassword";

/** Secrets that are made of others can be made again; they are not protected. Nor are passwords that servers refuse. */
const isStateful = ({ type, urn, old, new: made }: StepMetadata): boolean =>
  STATEFUL.has(type) ||
  (type === PASSWORD && (!old || old.protect === true)) ||
  (type === SECRET && (old ?? made)?.protect === true) ||
  (type === VOLUME && !REWRITTEN.test(resourceName(urn)));

/** Steps that change nothing, or are a part of a replacement, which one other step announces. */
const SILENT = new Set([
  "same",
  "read",
  "read-discard",
  "read-replacement",
  "refresh",
  "create-replacement",
  "delete-replaced",
  "discard-replaced",
  "remove-pending-replace",
]);

function propertyChanges(step: StepMetadata): PropertyChange[] {
  const detailed = Object.entries(step.detailedDiff ?? {});
  if (detailed.length > 0) {
    return detailed.map(([path, { diffKind }]) => {
      const [kind] = diffKind.split("-");
      return {
        path,
        kind: kind === "add" || kind === "delete" ? kind : "update",
        replaces: diffKind.endsWith("-replace"),
      };
    });
  }
  const replacing = new Set(step.op === "replace" ? step.keys : []);
  return [...new Set([...(step.diffs ?? []), ...replacing])].map((path) => ({
    path,
    kind: "update",
    replaces: replacing.has(path),
  }));
}

/** The change that a step announces; undefined for resources that stay as they are. */
export function changeOfStep(step: StepMetadata): Change | undefined {
  if (SILENT.has(step.op)) return undefined;
  return {
    urn: step.urn,
    type: step.type,
    op: step.op,
    stateful: isStateful(step),
    properties: propertyChanges(step),
    before: step.old?.inputs ?? {},
    after: step.new?.inputs ?? {},
  };
}

/** The last part of a URN. */
export const resourceName = (urn: string): string => urn.split("::").at(-1) ?? urn;

/** Whether a resource on AWS belongs to a region beside home: its data are copies of home's. */
export const isElsewhere = (urn: string): boolean => /cgraph:db:MultiRegion\$(.*\$)?aws:/.test(urn);

/** The first part of a property's path. */
export const topLevel = (path: string): string => /^[^.[]*/.exec(path)?.[0] ?? path;
