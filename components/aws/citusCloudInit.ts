/** What instances of a Citus cluster begin with (cloud-init's user data), as pure text. Holds no secret. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { stringify } from "yaml";
import { CITUS_VERSION } from "../docker/citusNames.ts";
import { STANZA } from "../docker/pgbackrestFiles.ts";

const IMAGES = join(import.meta.dirname, "..", "..", "images");
/** The scripts of each kind of server; those of containers serve here as they are. */
const SCRIPTS = {
  both: [
    ...["ec2/bin/cgraph-install", "ec2/bin/cgraph-node", "ec2/bin/cgraph-node-ready", "ec2/bin/cgraph-figures"],
    "common/bin/cgraph-certificate",
  ],
  etcd: ["services/bin/cgraph-etcd"],
  citus: [
    ...["ec2/bin/cgraph-primary", "ec2/bin/cgraph-backup-figures", "ec2/bin/cgraph-region"],
    ...["cgraph-lib", "cgraph-bootstrap", "cgraph-callback", "cgraph-backups", "cgraph-backup-now"].map(
      (name) => `postgres/bin/${name}`,
    ),
    "services/bin/cgraph-cluster-config",
  ],
} as const;

/** Debian's packages, by kind of server. */
export const DEBIAN_PACKAGES = {
  both: ["awscli", "ca-certificates", "curl", "e2fsprogs", "etcd-client", "jq", "openssl"],
  etcd: ["etcd-server"],
  citus: [
    ...[
      "postgresql-17",
      "postgresql-17-cron",
      "postgresql-17-hypopg",
      "postgresql-17-partman",
      "postgresql-17-wal2json",
    ],
    ...["patroni", "pgbackrest", "python3-etcd", "python3-psycopg2"],
  ],
} as const;
/** Of the Citus project's repository, for Debian 13 (trixie) and amd64. */
export const CITUS_PACKAGE = `postgresql-17-citus-${CITUS_VERSION}`;
/** AWS's limit of user data, before base64 (Amazon EC2 User Guide, "User data"). */
export const MOST_USER_DATA_BYTES = 16_384;

interface CommonInput {
  readonly stack: string;
  readonly region: string;
  /** `worker1-pg0`: the name on its certificate, and what begins its address. */
  readonly name: string;
  /** What follows names: `production.cgraph.internal`. */
  readonly domain: string;
  readonly volumeId: string;
  /** ARNs of the secrets that hold the authority's certificate, and its key with it. */
  readonly authority: string;
  readonly authorityKey: string;
  /** Members of etcd by their names, the first one first. */
  readonly etcdMembers: readonly string[];
  /** Whether its region is beside home: it follows until it is promoted, and makes no authority. */
  readonly beside: boolean;
}

export interface EtcdInput extends CommonInput {
  readonly kind: "etcd";
}

export interface CitusNodeInput extends CommonInput {
  readonly kind: "citus";
  readonly cluster: string;
  /** Further names by which clients, other nodes and other regions reach it. */
  readonly clientNames: readonly string[];
  /** ARN of the secret with the node's files that hold secrets. */
  readonly secret: string;
  /** Patroni's configuration of the cluster, and under which key of etcd. */
  readonly clusterConfig: Readonly<Record<string, unknown>>;
  readonly configKey: string;
  readonly backups: { readonly intervalHours: number; readonly fullDays: number };
}

export type NodeInput = EtcdInput | CitusNodeInput;

const at = (name: string, domain: string): string => `${name}.${domain}`;

/** Variables that the scripts and the services read; their values hold nothing that a shell or systemd would take apart. */
function environment(input: NodeInput): Record<string, string> {
  const { name, domain } = input;
  const citus = input.kind === "citus" ? input : undefined;
  const own = at(name, domain);
  return {
    PATH: "/usr/lib/postgresql/17/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    AWS_DEFAULT_REGION: input.region,
    CGRAPH_STACK: input.stack,
    CGRAPH_KIND: input.kind,
    CGRAPH_NODE: name,
    CGRAPH_DOMAIN: domain,
    CGRAPH_CLUSTER: citus?.cluster ?? "etcd",
    CGRAPH_PACKAGES: [...DEBIAN_PACKAGES.both, ...DEBIAN_PACKAGES[input.kind]].join(" "),
    CGRAPH_BESIDE: input.beside ? "yes" : "",
    CGRAPH_UNITS: [
      ...(citus ? ["patroni.service", "cgraph-backups.service", "cgraph-refresh.timer"] : ["etcd.service"]),
      // Home gives way to a region that has been promoted; a region gives way when it is told to.
      ...(citus && !input.beside ? ["cgraph-yield.timer"] : []),
      "cgraph-figures.timer",
    ].join(" "),
    CGRAPH_VOLUME: input.volumeId,
    CGRAPH_MOUNT: citus ? "/var/lib/postgresql" : "/var/lib/etcd",
    CGRAPH_TLS_NAMES: [name, own, ...(citus?.clientNames ?? []), "localhost"].join(","),
    CGRAPH_TLS_OWNER: citus ? "postgres" : "etcd",
    CGRAPH_AUTHORITY: input.authority,
    CGRAPH_AUTHORITY_KEY: input.authorityKey,
    CGRAPH_SECRET: citus?.secret ?? "",
    CGRAPH_ETCD_MEMBERS: input.etcdMembers.map((member) => at(member, domain)).join(" "),
    ...(citus
      ? {
          CGRAPH_CITUS_PACKAGE: CITUS_PACKAGE,
          CGRAPH_CONFIG_KEY: citus.configKey,
          CGRAPH_BACKUP_INTERVAL_HOURS: String(citus.backups.intervalHours),
          CGRAPH_BACKUP_FULL_DAYS: String(citus.backups.fullDays),
          PG_MAJOR: "17",
          PGBACKREST_CONFIG: "/etc/cgraph/pgbackrest.conf",
          PGBACKREST_STANZA: STANZA,
        }
      : { CGRAPH_ETCD_NAME: own, CGRAPH_ETCD_TOKEN: `cgraph-${input.stack}` }),
  };
}

const timer = (what: string, every: string): string => `[Unit]
Description=${what}
[Timer]
OnBootSec=${every}
OnUnitActiveSec=${every}
[Install]
WantedBy=timers.target
`;
const once = (what: string, command: string): string => `[Unit]
Description=${what}
Requires=cgraph-node.service
After=cgraph-node.service
[Service]
Type=oneshot
EnvironmentFile=/etc/cgraph/node.env
ExecStart=${command}
`;
const AFTER_PREPARATION = `[Unit]
Requires=cgraph-node.service
After=cgraph-node.service
`;

/** systemd's units beside Debian's own, and what changes in those. */
const UNITS: Readonly<Record<"both" | NodeInput["kind"], Readonly<Record<string, string>>>> = {
  both: {
    "cgraph-node.service": `[Unit]
Description=Data volume, certificate and files of this server
Wants=network-online.target
After=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=infinity
ExecStart=/usr/local/bin/cgraph-node
[Install]
WantedBy=multi-user.target
`,
    "cgraph-figures.service": once("Figures for CloudWatch", "/usr/local/bin/cgraph-figures"),
    "cgraph-figures.timer": timer("Figures for CloudWatch", "60"),
  },
  etcd: {
    "etcd.service.d/cgraph.conf": `${AFTER_PREPARATION}[Service]
EnvironmentFile=/etc/cgraph/node.env
UnsetEnvironment=ETCD_NAME ETCD_DATA_DIR DAEMON_ARGS
ExecStart=
ExecStart=/usr/local/bin/cgraph-etcd
TimeoutStartSec=infinity
Restart=always
RestartSec=5
`,
  },
  citus: {
    "patroni.service.d/cgraph.conf": `${AFTER_PREPARATION}ConditionPathExists=
ConditionPathExists=/etc/cgraph/patroni.yml
[Service]
EnvironmentFile=/etc/cgraph/node.env
ExecStartPre=-/usr/local/bin/cgraph-region yield
ExecStart=
ExecStart=/usr/bin/patroni /etc/cgraph/patroni.yml
TimeoutStopSec=300
Restart=always
RestartSec=5
LimitNOFILE=65536
`,
    "cgraph-backups.service": `[Unit]
Description=Backups while this server takes writes
Requires=cgraph-node.service
After=cgraph-node.service patroni.service
[Service]
User=postgres
EnvironmentFile=/etc/cgraph/node.env
ExecStart=/usr/local/bin/cgraph-backups
Restart=always
RestartSec=30
[Install]
WantedBy=multi-user.target
`,
    "cgraph-yield.service": once("Gives way to a region that was promoted", "/usr/local/bin/cgraph-region yield"),
    "cgraph-yield.timer": timer("Gives way to a region that was promoted", "60"),
    "cgraph-refresh.service": once("Files of this node's secret", "/usr/local/bin/cgraph-node refresh"),
    "cgraph-refresh.timer": timer("Files of this node's secret", "300"),
  },
};

interface WrittenFile {
  readonly path: string;
  readonly permissions: string;
  readonly content: string;
}

const script = (file: string): WrittenFile => ({
  path: `/usr/local/bin/${file.split("/").at(-1) ?? ""}`,
  permissions: "0755",
  content: readFileSync(join(IMAGES, file), "utf8"),
});

/** cloud-init's configuration of a server. */
export function citusCloudConfig(input: NodeInput): string {
  const variables = Object.entries(environment(input)).map(([key, value]) => `${key}="${value}"\n`);
  const plain = (path: string, content: string): WrittenFile => ({ path, permissions: "0644", content });
  const files = [
    plain("/etc/cgraph/node.env", variables.join("")),
    ...[...SCRIPTS.both, ...SCRIPTS[input.kind]].map(script),
    ...Object.entries({ ...UNITS.both, ...UNITS[input.kind] }).map(([unit, text]) =>
      plain(`/etc/systemd/system/${unit}`, text),
    ),
    ...(input.kind === "citus" ? [plain("/run/cgraph-config/cluster.json", JSON.stringify(input.clusterConfig))] : []),
  ];
  return `#cloud-config\n${stringify(
    {
      hostname: input.name,
      fqdn: at(input.name, input.domain),
      // Nobody logs in by name: Session Manager has a user of its own.
      users: [],
      ssh_pwauth: false,
      write_files: files,
      runcmd: [["/usr/local/bin/cgraph-install"]],
    },
    { lineWidth: 0 },
  )}`;
}

/** The same as AWS takes it: gzip, in base64. Throws where it is larger than AWS allows. */
export function citusUserData(input: NodeInput): string {
  const packed = gzipSync(citusCloudConfig(input), { level: 9 });
  // The operating system that packed it: it must not be a reason to replace an instance.
  packed[9] = 255;
  if (packed.length > MOST_USER_DATA_BYTES) {
    throw new Error(`user data of ${input.name} is ${packed.length} bytes; AWS takes ${MOST_USER_DATA_BYTES}`);
  }
  return packed.toString("base64");
}
