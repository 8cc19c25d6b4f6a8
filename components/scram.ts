import { createHash, createHmac, pbkdf2Sync } from "node:crypto";

const ITERATIONS = 4096; // PostgreSQL's scram_iterations

/**
 * PostgreSQL's SCRAM-SHA-256 verifier of a password (RFC 5803), so that a server never sees the password itself.
 * The salt derives from password and role, so that the same password gives the same text in every run.
 * The password must be ASCII: no SASLprep is done.
 */
export function scramVerifier(role: string, password: string): string {
  const salt = createHmac("sha256", password).update(`cgraph scram salt ${role}`).digest().subarray(0, 16);
  const salted = pbkdf2Sync(password, salt, ITERATIONS, 32, "sha256");
  const key = (name: string) => createHmac("sha256", salted).update(name).digest();
  const storedKey = createHash("sha256").update(key("Client Key")).digest("base64");
  return `SCRAM-SHA-256$${ITERATIONS}:${salt.toString("base64")}$${storedKey}:${key("Server Key").toString("base64")}`;
}
