/** Exit codes of `cgraph-db`. */
export const EXIT = { done: 0, failed: 1, wrongUse: 2, refused: 3 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/**
 * A mistake that the person at the keyboard can mend: printed as what is wrong and what to do, without a stack trace.
 */
export class UserError extends Error {
  readonly remedy: string;
  readonly exitCode: ExitCode;

  constructor(problem: string, remedy: string, exitCode: ExitCode = EXIT.wrongUse) {
    super(problem);
    this.name = "UserError";
    this.remedy = remedy;
    this.exitCode = exitCode;
  }
}
