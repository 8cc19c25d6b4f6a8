import { EXIT, type ExitCode } from "../../tuning/errors.ts";
import { print, printJson, table } from "../lib/print.ts";
import { checkSetup, setUp } from "../setup/steps.ts";

export interface SetupFlags {
  readonly check?: boolean;
  readonly install: boolean;
  readonly json?: boolean;
}

/** `setup`: brings everything in place; with --check only says what is found and missing (exit 1 where something is). */
export async function setup(flags: SetupFlags): Promise<ExitCode> {
  if (!flags.check) {
    const toolchain = await setUp({ mayInstall: flags.install });
    if (flags.json) printJson({ pulumi: toolchain.pulumi.version, baseImage: toolchain.baseImage });
    return EXIT.done;
  }
  const findings = await checkSetup();
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
