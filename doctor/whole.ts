/** Partitions taken together with the table that they are of. */

/** Rows by the partitioned table that they are of, in the order in which they came. */
export function byWhole<T extends { readonly whole: string }>(rows: readonly T[]): [string, T[]][] {
  const groups = new Map<string, T[]>();
  for (const row of rows) groups.set(row.whole, [...(groups.get(row.whole) ?? []), row]);
  return [...groups];
}

export const sum = (values: readonly number[]): number => values.reduce((all, one) => all + one, 0);
