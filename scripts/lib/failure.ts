/** Failures of Pulumi and its plugins in words that a person can act on. */

/** The engine's own messages of failure, without Pulumi's wrapping. */
export function failureOf(diagnostics: readonly string[], error: unknown): string {
  const lines = diagnostics
    .map((text) => text.replace(/<\{%[^%]*%\}>/g, "").trim())
    .filter((text) => text !== "" && text !== "update failed" && text !== "destroy failed");
  if (lines.length > 0) return [...new Set(lines)].join("\n");
  return error instanceof Error ? (error.message.trim().split("\n").at(-1) ?? "") : String(error);
}

/** What a person can do about a failure. */
export function remedyFor(
  problem: string,
  otherwise = "mend what the message says, then call this again: it goes on where it was",
): string {
  if (/port is already allocated|address already in use/i.test(problem)) {
    return "stop what uses the port, or choose another: pulumi config set cgraph:port 5433, or up --port 5433";
  }
  if (/no space left/i.test(problem))
    return "make room on Docker's disk (docker system df), then call this again: it goes on";
  if (/Cannot connect to the Docker daemon|connection refused|dial unix|error during connect|EOF/i.test(problem)) {
    return "start Docker (./cgraph-db setup), then call this again: it goes on";
  }
  return otherwise;
}
