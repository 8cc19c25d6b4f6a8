/** One HTML page that needs nothing from anywhere. */
import { escapeHtml as e } from "./escape.ts";
import { PAGE_STYLE } from "./pageStyle.ts";

export const section = (title: string, content: string): string => `<section><h2>${title}</h2>${content}</section>`;
export const list = (name: string, items: readonly string[]): string =>
  `<ul class="${name}">${items.map((item) => `<li>${item}</li>`).join("")}</ul>`;

/** The page around its content. `style`: more of it, for this page. */
export const page = (title: string, subtitle: string, content: readonly string[], style = ""): string =>
  [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    // Nothing is loaded and nothing runs, whatever a name has in it.
    `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`,
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>${e(title)}</title><style>${PAGE_STYLE}${style}\n</style></head><body>`,
    `<header><h1>${e(title).replace(/ → /g, "&nbsp;→&nbsp;")}</h1><p class="soft">${e(subtitle)}</p></header>`,
    ...content,
    "</body></html>\n",
  ].join("\n");
