/** A browser without a window, for pages that are files. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { run } from "../../scripts/lib/run.ts";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];

/** The browser's command; undefined where none is on this machine. */
export async function findChromium(): Promise<string | undefined> {
  for (const name of NAMES) if ((await run(name, ["--version"], { timeoutMs: 20_000 })).code === 0) return name;
  return undefined;
}

export interface Measured {
  /** Pixels that the page is wide, and that the window gives it. */
  readonly pageWidth: number;
  readonly windowWidth: number;
  /** Texts within pictures that stand out of their box. */
  readonly overflowing: readonly string[];
  /** Elements that a selector finds, and that are seen. */
  readonly visible: Readonly<Record<string, number>>;
  readonly background: string;
}

/** Runs in the page: what it measures is the answer. */
const PROBE = `
  for (const one of document.querySelectorAll("details")) one.open = true;
  const visible = (selector) => [...document.querySelectorAll(selector)].filter((one) => one.getBoundingClientRect().height > 0).length;
  const overflowing = [...document.querySelectorAll("svg text")].filter((text) => {
    const inside = text.getBoundingClientRect(), whole = text.closest("svg").getBoundingClientRect();
    let box = text.previousElementSibling;
    while (box && box.tagName !== "rect") box = box.previousElementSibling;
    const around = box ? box.getBoundingClientRect() : whole;
    return inside.left < around.left - 1 || inside.right > around.right + 1;
  }).map((text) => text.textContent);
  const measured = {
    pageWidth: document.documentElement.scrollWidth, windowWidth: document.documentElement.clientWidth, overflowing,
    visible: { steps: visible("[data-step]"), changes: visible("[data-urn]"), pictures: visible("svg") },
    background: getComputedStyle(document.body).backgroundColor,
  };
  parent.measured[Number(frameElement.dataset.index)] = measured;
  parent.document.title = JSON.stringify(parent.measured);`;

export interface Framed {
  readonly page: string;
  readonly widthPixels: number;
}

const inAttribute = (text: string): string => text.replaceAll("&", "&amp;").replaceAll('"', "&quot;");

/** The page in a frame of a width, which a browser's window cannot always have. */
function frame({ page, widthPixels }: Framed, index: number): string {
  // The page itself forbids scripts.
  const probed = page
    .replace(/<meta http-equiv="Content-Security-Policy"[^>]*>/, "")
    .replace("</body>", `<script>${PROBE}</script></body>`);
  return `<iframe data-index="${index}" style="border:0;width:${widthPixels}px;height:900px" srcdoc="${inAttribute(probed)}"></iframe>`;
}

/** Opens pages, each in a frame of its width, and measures them there. */
export async function measurePages(browser: string, frames: readonly Framed[], dark: boolean): Promise<Measured[]> {
  const folder = mkdtempSync(join(tmpdir(), "cgraph-page-"));
  try {
    const outer = join(folder, "outer.html");
    writeFileSync(
      outer,
      `<!doctype html><meta name="color-scheme" content="light dark"><script>var measured = [];</script><body>${frames.map(frame).join("")}</body>`,
    );
    const { code, stdout, stderr } = await run(
      browser,
      [
        ...["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"],
        ...[`--user-data-dir=${join(folder, "profile")}`, `--blink-settings=preferredColorScheme=${dark ? 0 : 1}`],
        ...["--window-size=1400,2000", "--virtual-time-budget=5000", "--dump-dom", pathToFileURL(outer).href],
      ],
      { timeoutMs: 60_000 },
    );
    const title = /<title>(.*?)<\/title>/.exec(stdout)?.[1];
    if (title === undefined) throw new Error(`${browser} ended with ${code} and no measurement: ${stderr.slice(-500)}`);
    return JSON.parse(title.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&")) as Measured[];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
