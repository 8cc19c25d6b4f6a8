import { TARGETS } from "../../stacks/config.ts";
import { EXIT, type ExitCode, UserError } from "../../tuning/errors.ts";
import { print, printJson, table } from "../lib/print.ts";
import { checkSetup, setUp } from "../setup/steps.ts";

export interface SetupFlags {
  readonly check?: boolean;
  readonly target: string;
  readonly install: boolean;
  readonly json?: boolean;
}

/** `setup`: brings everything in place; with --check only says what is found and missing (exit 1 where something is). */
export async function setup(flags: SetupFlags): Promise<ExitCode> {
  const target = TARGETS.find((one) => one === flags.target);
  if (!target) throw new UserError(`there is no target ${flags.target}`, `use one of ${TARGETS.join(", ")}`);
  if (!flags.check) {
    const toolchain = await setUp({ mayInstall: flags.install, targets: [target] });
    if (flags.json) printJson({ pulumi: toolchain.pulumi.version, baseImage: toolchain.baseImage ?? null });
    return EXIT.done;
  }
  const findings = await checkSetup([target]);
  if (flags.json) printJson(findings);
  else
    print(
      table(
        findings.map((f) => [
          f.found === null ? "missing" : "found",
          f.what,
          f.found ?? `${f.remedy}: ./cgraph-db setup`,
        ]),
      ),
    );
  return findings.every((finding) => finding.found !== null) ? EXIT.done : EXIT.failed;
}
