/** Failures of Pulumi and its plugins in words that a person can act on. */

/** The engine's own messages of failure, without Pulumi's wrapping. */
export function failureOf(diagnostics: readonly string[], error: unknown): string {
  const lines = diagnostics
    .map((text) => text.replace(/<\{%[^%]*%\}>/g, "").trim())
    // What the aws plugin says of itself comes beside what AWS says.
    .filter((text) => text !== "" && !/^(update|destroy|preview) failed$|^(sdk-v2|smarterr)\S*:\d+:/.test(text))
    .map((text) => text.replace(/^\d+ errors? occurred:\s+\* /, "").replace(/\s*\n\s*/g, " "));
  if (lines.length > 0) return [...new Set(lines)].join("\n");
  return error instanceof Error ? (error.message.trim().split("\n").at(-1) ?? "") : String(error);
}

/** What AWS says, and what a person can do about it. */
const AWS_REMEDIES: readonly (readonly [RegExp, string])[] = [
  [
    /ExpiredToken|token (included in the request )?is expired|SSO.*(expired|invalid)|has expired/i,
    "your credentials for AWS have expired: log in again (aws sso login), or set new ones",
  ],
  [
    /No valid credential sources|Unable to locate credentials|no EC2 IMDS role|failed to refresh cached credentials|profile .* could not be found|InvalidClientTokenId|SignatureDoesNotMatch|AuthFailure|UnrecognizedClient/i,
    "log in to AWS: aws sso login and AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
  ],
  [
    /AccessDenied|UnauthorizedOperation|not authorized to perform/i,
    "give the user or role that you call AWS with the right that it names",
  ],
  [
    /LimitExceeded|QuotaExceeded|InsufficientDBInstanceCapacity/i,
    "raise the quota that it names, or choose another class or region",
  ],
];

/** What a person can do about a failure. */
export function remedyFor(
  problem: string,
  otherwise = "mend what the message says, then call this again: it goes on where it was",
): string {
  const known = AWS_REMEDIES.find(([pattern]) => pattern.test(problem));
  if (known) return known[1];
  if (/port is already allocated|address already in use/i.test(problem)) {
    return "stop what uses the port, or choose another: pulumi config set cgraph:port 5433, or up --port 5433";
  }
  if (/no space left/i.test(problem))
    return "make room on Docker's disk (docker system df), then call this again: it goes on";
  if (/Cannot connect to the Docker daemon|connection refused|dial unix|error during connect|EOF/i.test(problem)) {
    return "start Docker (./cgraph-db setup), then call this again: it goes on";
  }
  if (/is protected|marked for protection/i.test(problem)) {
    return "it holds data: ./cgraph-db preview says why it would go, and how to allow it";
  }
  return otherwise;
}
