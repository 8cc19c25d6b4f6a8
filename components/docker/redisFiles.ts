/** Redis's configuration as pure text. */

export interface RedisArgs {
  readonly password: string;
  /** MiB for data; the least used keys go when it is full, so a cache never grows without bound. */
  readonly maxMemoryMiB: number;
}

/** redis.conf: a cache and nothing else: no persistence, TLS only. Holds the password. */
export const redisConf = ({ password, maxMemoryMiB }: RedisArgs): string => `port 0
tls-port 6379
tls-cert-file /run/cgraph-tls/server.crt
tls-key-file /run/cgraph-tls/server.key
tls-ca-cert-file /run/cgraph-tls/ca.crt
tls-auth-clients no
unixsocket /tmp/redis.sock
requirepass ${password}
maxmemory ${maxMemoryMiB}mb
maxmemory-policy allkeys-lfu
save ""
appendonly no
tcp-keepalive 60
timeout 0
lazyfree-lazy-eviction yes
lazyfree-lazy-expire yes
`;
