/** The pattern of CloudWatch Logs that finds PostgreSQL's lines of slow statements: `duration: 1234.567 ms`. */

/**
 * Durations of at least so many milliseconds, a number whose digits after the first are all zero: 500, 2000. Throws for
 * others, which would need more alternatives than a pattern may have.
 */
export function slowStatements(milliseconds: number): string {
  const text = String(milliseconds);
  if (!/^[1-9]0*$/.test(text)) throw new Error(`no pattern for ${milliseconds} ms`);
  const [first = "1", zeros] = [text.at(0), text.length - 1];
  return `%duration: ([${first}-9][0-9]{${zeros}}|[0-9]{${zeros + 2},})\\.[0-9]+ ms%`;
}
