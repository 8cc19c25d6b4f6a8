/** Cuts the AWS Terraform provider down to the services that this project uses: it then builds in minutes, not an hour. */
import { existsSync } from "node:fs";
import { cp, mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EXIT, UserError } from "../../tuning/errors.ts";
import { ROOT } from "../lib/paths.ts";
import { run } from "../lib/run.ts";

const MODULE = "github.com/upbound/terraform-provider-aws";
const VERSION = "v0.0.0-20260305123303-f7691456b787";
/** The public checksum database does not list the module: its content is what this says. */
const SUM = "h1:dJlp2eNgY/iVKTPINdguYlHbHc9CtXBZKmQmqYq0REs=";

/** Folders of internal/service that are kept; some only because others call them. */
const SERVICES = new Set(
  (
    "rds elasticache ec2 kms cloudwatch sns iam ssm secretsmanager elbv2 s3 backup logs sts meta autoscaling route53 " +
    "organizations s3control cloudformation ecs appautoscaling servicediscovery events ecr lambda elb account"
  ).split(" "),
);

const PARTS = ["internal", "names", "version", "xpprovider", "go.mod", "go.sum"];

/** Every Go file of a folder that is compiled into the plugin. */
async function sources(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith(".go") && !entry.name.endsWith("_test.go"))
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Leaves of the generated list of service packages only those that are kept. */
async function trimPackages(upstream: string): Promise<void> {
  const path = join(upstream, "internal/provider/sdkv2/service_packages_gen.go");
  const lines = (await readFile(path, "utf8")).split("\n").filter((line) => {
    const service =
      /internal\/service\/([a-z0-9]+)"/.exec(line)?.[1] ?? /^\s*([a-z0-9]+)\.ServicePackage\(/.exec(line)?.[1];
    return service === undefined || SERVICES.has(service);
  });
  await writeFile(path, lines.join("\n"));
}

async function removeServices(upstream: string): Promise<void> {
  const folder = join(upstream, "internal/service");
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isDirectory() && !SERVICES.has(entry.name)) await rm(join(folder, entry.name), { recursive: true });
  }
}

/** Leaves of the generated list of AWS clients only those that what is kept still calls. */
async function trimClients(upstream: string): Promise<void> {
  const path = join(upstream, "internal/conns/awsclient_gen.go");
  const used = new Set<string>();
  for (const file of await sources(join(upstream, "internal"))) {
    if (file === path || /\/internal\/(acctest|generate)\//.test(file)) continue;
    for (const [, client] of (await readFile(file, "utf8")).matchAll(/\.(\w+Client)\(/g)) used.add(client ?? "");
  }
  const text = await readFile(path, "utf8");
  const end = text.indexOf(")\n");
  const body = text
    .slice(end + 2)
    .split(/^(?=func )/m)
    .filter((part) => {
      const name = /^func \(c \*AWSClient\) (\w+)\(/.exec(part)?.[1];
      return name === undefined || used.has(name);
    })
    .join("");
  const head = text
    .slice(0, end)
    .split("\n")
    .filter((line) => {
      const found = /^\s*(?:(\w+) )?"github.com\/aws\/aws-sdk-go-v2\/service\/([a-z0-9]+)"/.exec(line);
      return !found || new RegExp(`\\b${found[1] ?? found[2]}\\.`).test(body);
    });
  await writeFile(path, `${head.join("\n")})\n${body}`);
}

/**
 * Makes a folder to build the plugin in: our main.go and go.mod, and beside them the cut copy of the provider that
 * go.mod points at. What is there whole is left alone.
 */
export async function prepareAwsModule(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const file of ["main.go", "go.mod", "go.sum"]) await cp(join(ROOT, "toolchain/aws", file), join(folder, file));
  const upstream = join(folder, "upstream");
  if (existsSync(upstream)) return;
  const env = { ...process.env, GONOSUMDB: MODULE, GOFLAGS: "-mod=mod", GOTOOLCHAIN: "local", GOWORK: "off" };
  const { code, stdout, stderr } = await run("go", ["mod", "download", "-json", `${MODULE}@${VERSION}`], {
    cwd: folder,
    env,
  });
  const found = code === 0 ? (JSON.parse(stdout) as { Dir: string; Sum: string }) : undefined;
  if (found?.Sum !== SUM) {
    throw new UserError(
      found ? `${MODULE}@${VERSION} is not what it should be: ${found.Sum}` : `${MODULE}: ${stderr.trim() || stdout}`,
      "check the network, then call this again",
      EXIT.failed,
    );
  }
  const partial = `${upstream}.${process.pid}.part`;
  try {
    await mkdir(partial);
    for (const part of PARTS) await cp(join(found.Dir, part), join(partial, part), { recursive: true });
    // Go keeps its modules read-only.
    const { code: failed } = await run("chmod", ["-R", "u+w", partial]);
    if (failed !== 0) throw new Error(`chmod of ${partial} failed`);
    await trimPackages(partial);
    await removeServices(partial);
    await trimClients(partial);
    await rename(partial, upstream);
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}
