/** A move's report as one page that needs nothing from anywhere: the verdict, pictures, steps in time, changes, cost. */
import { type Picture, differencesOf } from "../../migration/picture.ts";
import type { MoveReport } from "../../migration/report.ts";
import type { PlannedStep } from "../../migration/moveSteps.ts";
import { allowingFlags } from "../lib/allow.ts";
import { bytes } from "../lib/print.ts";
import { escapeHtml as e } from "./escape.ts";
import { list, page, section } from "./page.ts";
import { topologySvg } from "./topologySvg.ts";
import {
  PRICES_NOTE,
  costRows,
  duration,
  fromTo,
  money,
  signedUsd,
  sorted,
  stepsSeconds,
  usd,
  whyOf,
} from "./words.ts";

const percent = (share: number): string => `${(share * 100).toFixed(3)}%`;

function facts(report: MoveReport): string {
  const { steps, longestPause, movesBytes, cost, differenceUsdPerMonth } = report;
  const shown: (readonly [string, string])[] = [
    ...(steps.length > 0 ? [["steps", `${steps.length}, about ${duration(stepsSeconds(steps))}`] as const] : []),
    ...(longestPause
      ? [["longest pause", `${duration(longestPause.seconds)}, ${longestPause.clients}`] as const]
      : steps.length > 0
        ? [["longest pause", "none"] as const]
        : []),
    ...(movesBytes > 0 ? [["copied", bytes(movesBytes)] as const] : []),
    ["changes", String(report.changes.length)],
    ...(cost ? [["a month", `${usd(cost.usdPerMonth)} (${signedUsd(differenceUsdPerMonth ?? 0)})`] as const] : []),
  ];
  return `<dl class="facts">${shown.map(([name, value]) => `<div><dt>${e(name)}</dt><dd>${e(value)}</dd></div>`).join("")}</dl>`;
}

function warnings({ notFitting, changes }: MoveReport): string {
  const refused = changes.filter(({ loss }) => loss === "refused").map(({ urn }) => urn);
  return [
    ...(notFitting.length > 0
      ? [
          `<div class="warn"><b>Would not fit</b>${list(
            "misfits",
            notFitting.map(({ what, remedy }) => `${e(what)}. <span class="soft">Then: ${e(remedy)}.</span>`),
          )}</div>`,
        ]
      : []),
    ...(refused.length > 0
      ? [
          `<div class="warn"><b>To lose it all the same, name each</b><pre>${e(allowingFlags(refused, " \\\n"))}</pre></div>`,
        ]
      : []),
  ].join("");
}

function figure(title: string, picture: Picture, other: Picture | null, side: "before" | "after"): string {
  return `<figure><figcaption>${e(title)}</figcaption>${topologySvg(picture, other, side)}</figure>`;
}

function pictures({ before, after, from, to }: MoveReport): string {
  const two = before !== null && JSON.stringify(before) !== JSON.stringify(after);
  const drawn = two
    ? figure(`Before: stage ${before.stage}`, before, after, "before") +
      figure(`After: stage ${after.stage}`, after, before, "after")
    : figure(from === to ? "As it is" : `After: stage ${after.stage}`, after, null, "after");
  const legend = two
    ? `<ul class="legend"><li class="l-new"><i></i>new</li><li class="l-changed"><i></i>changes</li><li class="l-goes"><i></i>goes</li></ul>`
    : "";
  const rows = differencesOf(before, after).map(
    ({ part, before: old, after: next }) =>
      `<tr${old === next ? "" : ' class="differs"'}><td>${e(part)}</td><td data-name="before">${e(old)}</td><td data-name="after">${e(next || "none")}</td></tr>`,
  );
  const table = two
    ? `<h2>Differences</h2><table class="stack"><thead><tr><th>part</th><th>before</th><th>after</th></tr></thead><tbody>${rows.join("")}</tbody></table>`
    : "";
  return `<div class="pictures${two ? " two" : ""}">${drawn}</div>${legend}${table}`;
}

function stepItem(one: PlannedStep, begins: number, total: number): string {
  const left = Math.min(begins / total, 0.995);
  const pause = one.pause
    ? `<span class="pause" style="left:${percent(left)};width:${percent(one.pause.seconds / total)}"></span>`
    : "";
  const more = [
    ...(one.pause ? [`Pause: ${e(one.pause.basis)}.`] : []),
    `Takes: ${e(one.duration.basis)}.`,
    ...(one.movesBytes > 0 ? [`Copies ${bytes(one.movesBytes)}.`] : []),
    one.noReturn === null
      ? `Way back: ${e(one.wayBack)}.`
      : `<span class="final-text">No way back from here on: ${e(one.noReturn)}.</span>`,
  ];
  return (
    `<li data-step="${e(one.id)}"${one.noReturn === null ? "" : ' class="final"'}>` +
    `<div class="head"><code>${e(one.id)}</code><b>${e(one.title)}</b>` +
    (one.clients === "nothing"
      ? ""
      : `<span class="chip">${e(one.clients)}${one.pause ? ` ${duration(one.pause.seconds)}` : ""}</span>`) +
    `<span class="time">${duration(one.duration.seconds)}</span></div>` +
    `<div class="track"><span style="left:${percent(left)};width:${percent(one.duration.seconds / total)}"></span>${pause}</div>` +
    `<p>${e(one.does)}</p><p class="soft">${more.join(" ")}</p></li>`
  );
}

function timeLine({ steps }: MoveReport): string {
  if (steps.length === 0) return "";
  const total = Math.max(stepsSeconds(steps), 1e-3);
  let begins = 0;
  const items = steps.map((one) => {
    const item = stepItem(one, begins, total);
    begins += one.duration.seconds;
    return item;
  });
  return section(
    "Steps in time",
    `<ol class="steps">${items.join("")}</ol>` +
      `<div class="axis"><span>0</span><span>half</span><span>${duration(total)}</span></div>` +
      `<ul class="legend"><li class="l-work"><i></i>duration, to scale</li><li class="l-pause"><i></i>clients notice it (drawn at least 4 pixels wide)</li></ul>`,
  );
}

function changesTable(report: MoveReport): string {
  const { changes } = report;
  if (changes.length === 0) return "";
  const cell = (name: string, content: string): string => `<td data-name="${name}">${content}</td>`;
  const rows = sorted(changes).map(
    (one) =>
      `<tr class="${one.loss}" data-urn="${e(one.urn)}"><td>${e(one.happens)} <code>${e(one.name)}</code></td>` +
      cell("type", `<code>${e(one.type)}</code>`) +
      cell("holds data", one.holdsData ? "yes" : "") +
      cell("clients", one.clients === "nothing" ? "" : e(one.clients)) +
      cell("differs", e([...new Set(one.properties.map(({ path }) => path))].slice(0, 6).join(", "))) +
      cell("why", e(whyOf(one, report))) +
      "</tr>",
  );
  return section(
    "Changes",
    `<details><summary>${changes.length} ${changes.length === 1 ? "resource" : "resources"}</summary><table class="stack"><thead><tr><th>what happens</th><th>type</th><th>holds data</th><th>clients</th><th>differs</th><th>why</th></tr></thead><tbody>${rows.join("")}</tbody></table></details>`,
  );
}

function driftTable({ drift = [] }: MoveReport): string {
  if (drift.length === 0) return "";
  const rows = drift.map(
    (one) =>
      `<tr><td>${e(one.where)}</td><td>${e(one.what)}</td><td data-name="expected">${e(one.expected)}</td><td data-name="found">${e(one.found)}</td><td data-name="what to do"><code>${e(one.remedy)}</code></td></tr>`,
  );
  return section(
    "Drift: changed behind Pulumi's back",
    `<table class="stack"><thead><tr><th>where</th><th>what</th><th>expected</th><th>found</th><th>what to do</th></tr></thead><tbody>${rows.join("")}</tbody></table>`,
  );
}

function costTable(report: MoveReport): string {
  const { cost, costNow, differenceUsdPerMonth } = report;
  if (!cost) return "";
  const rows = costRows(report).map(
    (one) =>
      `<tr><td>${e(one.part)}</td><td class="what soft">${e(one.what)}</td><td class="money">${money(one.now)}</td><td class="money">${money(one.then)}</td></tr>`,
  );
  return section(
    "Cost",
    `<table class="money-table"><thead><tr><th>part</th><th class="what">what</th><th class="money">now</th><th class="money">a month</th></tr></thead><tbody>${rows.join("")}` +
      `<tr class="sum"><td>all</td><td class="what"></td><td class="money">${money(costNow?.usdPerMonth ?? null)}</td><td class="money">${usd(cost.usdPerMonth)}</td></tr>` +
      `<tr class="sum"><td>difference</td><td class="what"></td><td class="money"></td><td class="money">${signedUsd(differenceUsdPerMonth ?? 0)}</td></tr></tbody></table>` +
      `<p class="soft">${e(PRICES_NOTE)}</p>`,
  );
}

export function renderHtml(report: MoveReport): string {
  const { stack, target, verdict, meaning, notes } = report;
  const title = `Stack ${stack}: ${fromTo(report)}`;
  return page(title, `preview, on ${target === "aws" ? "AWS" : "Docker"}`, [
    `<div class="verdict ${verdict}"><b>${verdict}</b><p>${e(meaning)}</p></div>`,
    facts(report),
    warnings(report),
    section("Before and after", pictures(report)),
    timeLine(report),
    changesTable(report),
    driftTable(report),
    costTable(report),
    ...(notes.length > 0 ? [section("Notes", list("notes", notes.map(e)))] : []),
  ]);
}
