/** A certificate authority of a team's own, for a source that demands TLS. */
import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { docker } from "../../scripts/lib/docker.ts";

export interface TlsFiles {
  readonly folder: string;
  readonly authority: string;
  /** Of an authority that has signed nothing here. */
  readonly otherAuthority: string;
  readonly certificate: string;
  readonly key: string;
  readonly clientCertificate: string;
  readonly clientKey: string;
}

/** By the openssl of a container that has it: this machine may have none. */
const script = (host: string, client: string): string => `set -e; folder=$(mktemp -d); cd "$folder"
new() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
for ca in ca other; do
  new $ca; openssl req -x509 -new -key $ca.key -days 2 -subj /CN=$ca -addext basicConstraints=critical,CA:TRUE -out $ca.crt
done
sign() { # NAME SUBJECT EXTENSION
  new "$1"; openssl req -new -key "$1.key" -subj "/CN=$2" -out "$1.csr"; echo "$3" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -days 2 -extfile "$1.ext" -set_serial "0x$(openssl rand -hex 8)" -out "$1.crt" 2>/dev/null
}
sign server "${host}" "subjectAltName=DNS:${host}"
sign client "${client}" extendedKeyUsage=clientAuth
for file in ca.crt other.crt server.crt server.key client.crt client.key; do echo "file $file"; cat $file; done; rm -r "$folder"`;

/** Makes certificates of a server by its name, and of a client by its user. */
export async function makeTlsFiles(container: string, host: string, client: string): Promise<TlsFiles> {
  const text = await docker(["exec", "--user", "postgres", container, "sh", "-c", script(host, client)]);
  const folder = mkdtempSync(join(tmpdir(), "cgraph-tls-"));
  chmodSync(folder, 0o755);
  for (const part of text.split(/^file /m).slice(1)) {
    const [name = "", ...lines] = part.split("\n");
    writeFileSync(join(folder, name), lines.join("\n"), { mode: name.endsWith(".key") ? 0o600 : 0o644 });
  }
  const at = (name: string): string => join(folder, name);
  return {
    folder,
    authority: at("ca.crt"),
    otherAuthority: at("other.crt"),
    certificate: at("server.crt"),
    key: at("server.key"),
    clientCertificate: at("client.crt"),
    clientKey: at("client.key"),
  };
}
