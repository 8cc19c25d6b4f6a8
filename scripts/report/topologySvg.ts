/** A stack's parts as a picture for a page: clients above, data below. Colours are the page's. */
import { type Picture, type PictureServer, backupText, sizeText } from "../../migration/picture.ts";
import { escapeHtml } from "./escape.ts";

/** Narrow enough that its text is readable on a phone. */
const WIDTH = 360;
const MARGIN = 8;
const GAP = 10;
const ROW_GAP = 30;
const LINE = 16;

/** What becomes of a part between the two pictures. */
type Fate = "same" | "new" | "changed" | "goes";

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

const n = (value: number): string => value.toFixed(1).replace(/\.0$/, "");
const centreX = ({ x, width }: Box): number => x + width / 2;
const bottom = ({ y, height }: Box): number => y + height;

function drawBox(box: Box, kind: string, fate: Fate, lines: readonly string[]): string {
  const first = box.y + (box.height - lines.length * LINE) / 2 + 12;
  const texts = lines.map(
    (line, index) =>
      `<text x="${n(centreX(box))}" y="${n(first + index * LINE)}" class="${index === 0 ? "t1" : "t2"}">${escapeHtml(line)}</text>`,
  );
  return `<rect x="${n(box.x)}" y="${n(box.y)}" width="${n(box.width)}" height="${n(box.height)}" rx="7" class="${kind} ${fate}"/>${texts.join("")}`;
}

/** A line from the foot of one box to the head of another, with an arrow's point. */
function arrow(from: Box, to: Box, name = "flow"): string {
  const [x1, y1, x2, y2] = [centreX(from), bottom(from), centreX(to), to.y];
  const middle = (y1 + y2) / 2;
  const path =
    Math.abs(x1 - x2) < 1 ? `M${n(x1)} ${n(y1)}V${n(y2 - 5)}` : `M${n(x1)} ${n(y1)}V${n(middle)}H${n(x2)}V${n(y2 - 5)}`;
  return `<path d="${path}" class="${name}"/><path d="M${n(x2 - 4)} ${n(y2 - 6)}h8l-4 6z" class="tip"/>`;
}

/** Boxes of equal width beside each other. */
function rowOf(count: number, y: number, height: number, left: number, right: number): Box[] {
  const width = (right - left - GAP * (count - 1)) / count;
  return Array.from({ length: count }, (_, index) => ({ x: left + index * (width + GAP), y, width, height }));
}

const fateOf = (mine: unknown, other: unknown, absent: Fate): Fate =>
  other === undefined || other === null ? absent : JSON.stringify(mine) === JSON.stringify(other) ? "same" : "changed";

function serverLines(server: PictureServer, narrow: boolean): string[] {
  const [cpus = "", memory = "", disk = ""] = sizeText(server).split(", ");
  return [
    `${server.name} · ${server.role}`,
    ...(server.kind === null ? [] : [server.kind]),
    ...(narrow ? [cpus, memory, disk] : [`${cpus}, ${memory}`, disk]),
    ...(server.standby ? ["standby in another zone"] : []),
  ];
}

/** `other`: the picture beside it, to tell what is new there, or goes. */
export function topologySvg(picture: Picture, other: Picture | null, side: "before" | "after"): string {
  const { servers, poolers, router, cache, backup } = picture;
  const absent: Fate = other === null ? "same" : side === "after" ? "new" : "goes";
  const [left, right] = [MARGIN, WIDTH - MARGIN];
  const parts: string[] = [];
  const links: string[] = [];
  // The cache has a lane of its own at the right, past which clients reach it.
  const main = cache ? right - 118 : right;
  let y = MARGIN;
  const [clients = { x: left, y, width: main - left, height: 30 }] = rowOf(1, y, 30, left, right);
  parts.push(drawBox(clients, "clients", "same", ["application"]));
  let above: Box[] = [{ ...clients, width: main - left }];
  y = bottom(clients) + ROW_GAP;
  const layer = (boxes: Box[]): void => {
    for (const from of above) for (const to of boxes) links.push(arrow(from, to));
    above = boxes;
    y = Math.max(...boxes.map(bottom)) + ROW_GAP;
  };
  if (router) {
    const boxes = rowOf(1, y, 30, left, main);
    boxes.forEach((box) => parts.push(drawBox(box, "part", fateOf(router, other?.router, absent), [router])));
    layer(boxes);
  }
  if (poolers) {
    const shown = Math.min(poolers.count, 2);
    const boxes = rowOf(shown, y, 46, left, main);
    boxes.forEach((box, index) => {
      const isNew = side === "after" ? index >= (other?.poolers?.count ?? 0) : index >= (other?.poolers?.count ?? 0);
      const fate = other !== null && isNew ? absent : fateOf(poolers.kind, other?.poolers?.kind, absent);
      const name = poolers.count > shown ? `${poolers.count} × ${poolers.kind}` : poolers.kind;
      parts.push(
        drawBox(box, "part", fate, [name, poolers.clients === null ? "run by AWS" : `${poolers.clients} clients`]),
      );
    });
    layer(boxes);
  }
  const [primary, ...replicas] = servers;
  const twin = (server: PictureServer): PictureServer | undefined =>
    other?.servers.find(({ name }) => name === server.name);
  const heightOf = (lines: readonly string[]): number => lines.length * LINE + 14;
  if (primary) {
    const lines = serverLines(primary, false);
    const boxes = rowOf(1, y, heightOf(lines), left, main);
    boxes.forEach((box) => parts.push(drawBox(box, "server", fateOf(primary, twin(primary), absent), lines)));
    if (cache) {
      const [primaryBox] = boxes;
      const box: Box = { x: main + GAP, y, width: right - main - GAP, height: primaryBox?.height ?? 60 };
      const words = [
        `${cache.nodes > 1 ? `${cache.nodes} × ` : ""}${cache.kind}`,
        "cache",
        cache.memoryMiB < 1024 ? `${cache.memoryMiB} MiB` : `${(cache.memoryMiB / 1024).toFixed(1)} GiB`,
      ];
      parts.push(drawBox(box, "part", fateOf(cache, other?.cache, absent), words));
      links.push(arrow({ ...box, y: clients.y, height: clients.height }, box));
      // In step by the database's own changes.
      const from = primaryBox ?? box;
      links.push(
        `<path d="M${n(from.x + from.width)} ${n(from.y + from.height / 2)}H${n(box.x)}" class="flow dashed"/>`,
      );
    }
    layer(boxes);
  }
  const perRow = replicas.length > 3 ? 3 : Math.max(1, replicas.length);
  const trunk = above;
  for (let index = 0; index < replicas.length; index += perRow) {
    const some = replicas.slice(index, index + perRow);
    const narrow = some.length > 2;
    const height = Math.max(...some.map((one) => heightOf(serverLines(one, narrow))));
    const boxes = rowOf(some.length, y, height, left, right);
    boxes.forEach((box, place) => {
      const server = some[place];
      if (!server) return;
      parts.push(drawBox(box, "server", fateOf(server, twin(server), absent), serverLines(server, narrow)));
    });
    above = index === 0 ? trunk : above;
    layer(boxes);
  }
  const [store] = rowOf(1, y - ROW_GAP + 18, 46, left, right);
  if (store) {
    parts.push(
      drawBox(store, "store", fateOf(backup, other?.backup, absent), [`backups: ${backup.where}`, backupText(backup)]),
    );
    y = bottom(store) + MARGIN;
  }
  const title = `Stage ${picture.stage}: ${servers.length} ${servers.length === 1 ? "server" : "servers"}`;
  return `<svg viewBox="0 0 ${WIDTH} ${n(y)}" role="img" aria-label="${escapeHtml(title)}"><title>${escapeHtml(title)}</title>${links.join("")}${parts.join("")}</svg>`;
}
