/** Tables whose cells are broken over lines where a terminal is too narrow. */

/** Least width of a column that is broken. */
const LEAST = 9;
const GAP = 2;

/** A text in lines of at most so many characters; a word that is longer is cut. Keeps what a line begins with. */
export function wrap(text: string, width: number): string[] {
  if (text.length <= width) return [text];
  const indent = /^\s*(- )?/.exec(text)?.[0].length ?? 0;
  const lines: string[] = [];
  let line = text.slice(0, indent);
  let empty = true;
  const flush = (): void => {
    lines.push(line.trimEnd());
    line = " ".repeat(indent);
    empty = true;
  };
  for (const word of text.slice(indent).split(" ")) {
    let rest = word;
    if (!empty && line.length + 1 + rest.length > width) flush();
    while (line.length + rest.length > width && rest.length > width - indent) {
      const room = Math.max(1, width - line.length);
      line += rest.slice(0, room);
      rest = rest.slice(room);
      flush();
    }
    line += (empty ? "" : " ") + rest;
    empty = false;
  }
  if (line.trim() !== "") lines.push(line);
  return lines;
}

/** Takes from the widest column until all fit, or every column is at its least. */
function fittedWidths(natural: readonly number[], width: number): number[] {
  const widths = [...natural];
  const sum = (): number => widths.reduce((all, one) => all + one, 0) + GAP * (widths.length - 1);
  for (let over = sum() - width; over > 0; over = sum() - width) {
    const widest = Math.max(...widths);
    if (widest <= LEAST) break;
    const second = Math.max(LEAST, ...widths.filter((one) => one < widest));
    const among = widths.filter((one) => one === widest).length;
    const less = Math.max(1, Math.min(widest - second, Math.ceil(over / among)));
    widths.forEach((one, index) => {
      if (one === widest) widths[index] = one - less;
    });
  }
  return widths;
}

/** Rows as aligned columns, the first row as the heading; in blocks of `name: value` where columns would be too narrow. */
export function wrappedTable(rows: readonly (readonly string[])[], width: number): string {
  const [heading = []] = rows;
  const natural = heading.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  const used = heading.map((_, column) => rows.slice(1).some((row) => (row[column] ?? "") !== ""));
  const kept = heading.map((_, column) => column).filter((column) => used[column] === true || rows.length === 1);
  const pick = (row: readonly string[]): string[] => kept.map((column) => row[column] ?? "");
  const least = kept.reduce((all, column) => all + Math.min(natural[column] ?? 0, LEAST) + GAP, -GAP);
  if (least > width) return blocks(rows.map(pick), width);
  const widths = fittedWidths(
    kept.map((column) => natural[column] ?? 0),
    width,
  );
  return rows
    .map(pick)
    .flatMap((row) => {
      const cells = row.map((cell, index) => wrap(cell, widths[index] ?? LEAST));
      const height = Math.max(...cells.map((lines) => lines.length));
      return Array.from({ length: height }, (_, line) =>
        cells
          .map((lines, index) => (lines[line] ?? "").padEnd(widths[index] ?? 0))
          .join(" ".repeat(GAP))
          .trimEnd(),
      );
    })
    .join("\n");
}

function blocks(rows: readonly (readonly string[])[], width: number): string {
  const [heading = [], ...rest] = rows;
  return rest
    .map((row) =>
      row
        .flatMap((cell, index) =>
          cell === "" ? [] : wrap(`${index === 0 ? "" : "  "}${heading[index]}: ${cell}`, width),
        )
        .join("\n"),
    )
    .join("\n");
}
