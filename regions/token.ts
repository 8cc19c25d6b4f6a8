/** What a client has written, so that it can be shown to it wherever it reads next. Pure. */

/**
 * For each database that was written: how far its WAL had got when the write was there, such as `16/B374D848`. Of a Citus cluster for
 * each node: the coordinator under the database's own name, a worker with its identifier behind that and a dot.
 */
export type Token = Readonly<Record<string, string>>;

const LSN = /^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/;

/** A position in the WAL as a number. Throws a TypeError for what is none. */
export function lsnNumber(lsn: string): bigint {
  if (!LSN.test(lsn)) throw new TypeError(`${JSON.stringify(lsn)} is not a position in the WAL such as 16/B374D848`);
  const [high = "", low = ""] = lsn.split("/");
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}

/** The token of somebody who has made both writes. */
export function later(a: Token, b: Token): Token {
  const merged: Record<string, string> = { ...a };
  for (const [database, lsn] of Object.entries(b)) {
    const other = merged[database];
    if (other === undefined || lsnNumber(lsn) > lsnNumber(other)) merged[database] = lsn;
  }
  return merged;
}

/** As it stands in a cookie or a header; empty for nothing. */
export const formatToken = (token: Token): string =>
  Object.entries(token)
    .map(([database, lsn]) => `${database}:${lsn}`)
    .join(",");

/** Reads it back. It comes from outside: what is not a token is a TypeError. */
export function parseToken(text: string): Token {
  if (text === "") return {};
  return Object.fromEntries(
    text.split(",").map((part) => {
      const [, database, lsn] = /^([a-zA-Z0-9_]+(?:\.\d+)?):(.+)$/.exec(part) ?? [];
      if (database === undefined || lsn === undefined)
        throw new TypeError(`${JSON.stringify(part)} is no part of a token`);
      lsnNumber(lsn);
      return [database, lsn];
    }),
  );
}
