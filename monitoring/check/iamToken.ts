/** A login token for RDS (IAM database authentication): a signed request that is never sent, used as a password. */
import { createHash, createHmac } from "node:crypto";

export interface Signer {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly region: string;
}

const SECONDS_VALID = 900;

const hmac = (key: string | Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();
const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

/** AWS's Signature Version 4 as a query, for the action that lets a role connect. Valid for fifteen minutes. */
export function iamToken(host: string, port: number, user: string, signer: Signer, now = new Date()): string {
  const time = now.toISOString().replace(/[-:]|\.\d+/g, "");
  const scope = `${time.slice(0, 8)}/${signer.region}/rds-db/aws4_request`;
  const query = Object.entries({
    Action: "connect",
    DBUser: user,
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": `${signer.accessKeyId}/${scope}`,
    "X-Amz-Date": time,
    "X-Amz-Expires": String(SECONDS_VALID),
    ...(signer.sessionToken === undefined ? {} : { "X-Amz-Security-Token": signer.sessionToken }),
    "X-Amz-SignedHeaders": "host",
  })
    .map(([key, value]) => `${encode(key)}=${encode(value)}`)
    .sort()
    .join("&");
  const emptyBody = createHash("sha256").update("").digest("hex");
  const canonical = ["GET", "/", query, `host:${host}:${port}`, "", "host", emptyBody].join("\n");
  const digest = createHash("sha256").update(canonical).digest("hex");
  const key = scope
    .split("/")
    .reduce<string | Buffer>((last, part) => hmac(last, part), `AWS4${signer.secretAccessKey}`);
  const signature = hmac(key, ["AWS4-HMAC-SHA256", time, scope, digest].join("\n")).toString("hex");
  return `${host}:${port}/?${query}&X-Amz-Signature=${signature}`;
}
