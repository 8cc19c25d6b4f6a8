/** What a change of Docker's resources means. */
import { type Change, resourceName } from "./change.ts";
import { type Effect, plain } from "./effect.ts";

/** A one-shot container that writes a configuration anew, which its server then reads. */
const writesConfig = (name: string): boolean => /(-writer|^cluster-config)$/.test(name);

/** What a change of a resource of Docker's means. */
export function dockerEffect(change: Change): Effect {
  const name = resourceName(change.urn);
  const isContainer = change.type.endsWith(":Container");
  if (isContainer && writesConfig(name)) return { happens: "reload", clients: "nothing", why: "" };
  if (isContainer && change.op === "replace") {
    return {
      happens: "restart",
      clients: "reconnect",
      why: "its container is made anew; its data stays in its volume",
    };
  }
  if (isContainer && change.op === "update") return { happens: "restart", clients: "reconnect", why: "" };
  if (isContainer && change.op === "delete") return { happens: "delete", clients: "reconnect", why: "" };
  return plain(change);
}
