/** Redis's configuration as pure text. */
import { createHash } from "node:crypto";

export interface RedisArgs {
  /** MiB for data; the least used keys go when it is full, so a cache never grows without bound. */
  readonly maxMemoryMiB: number;
}

/** Where the container puts users.acl, with a user of its own that may have it read anew. */
const USERS = "/run/cgraph-redis/users.acl";

/** users.acl: whoever knows one of the passwords. Holds their hashes. */
export const redisUsers = (passwords: readonly string[]): string => {
  const hashes = passwords.map((password) => `#${createHash("sha256").update(password).digest("hex")}`);
  return `user default on sanitize-payload ${hashes.join(" ")} ~* &* +@all\n`;
};

/** redis.conf: a cache and nothing else: no persistence, TLS only. */
export const redisConf = ({ maxMemoryMiB }: RedisArgs): string => `port 0
tls-port 6379
tls-cert-file /run/cgraph-tls/server.crt
tls-key-file /run/cgraph-tls/server.key
tls-ca-cert-file /run/cgraph-tls/ca.crt
tls-auth-clients no
unixsocket /tmp/redis.sock
aclfile ${USERS}
maxmemory ${maxMemoryMiB}mb
maxmemory-policy allkeys-lfu
save ""
appendonly no
tcp-keepalive 60
timeout 0
lazyfree-lazy-eviction yes
lazyfree-lazy-expire yes
`;
