import { beforeAll, describe, expect, it } from "vitest";
import type { MoveReport } from "../../migration/report.ts";
import { renderHtml } from "../../scripts/report/html.ts";
import { type Measured, findChromium, measurePages } from "../support/chromium.ts";
import { HOSTILE, awsReport, change, dockerReport } from "../support/moveReports.ts";

const browser = await findChromium();
const name = browser === undefined ? "a preview's page (no Chromium is on this machine)" : "a preview's page";

const long = change("a-very-long-name-".repeat(12), "replace");
const changes = [long, change(HOSTILE, "create"), change("pg0", "update")];
const lost = change("pg1-data", "delete", { type: "docker:index/volume:Volume", stateful: true });
const reports: readonly (readonly [string, MoveReport])[] = [
  ["up in Docker", dockerReport(1, 3, changes)],
  [
    "down in Docker",
    dockerReport(3, 1, [...changes, lost], { databaseBytes: 7e10, connections: 300, partitioned: true }),
  ],
  ["the first on AWS", awsReport(0, 3, changes)],
  ["up on AWS", awsReport(1, 2, changes)],
  ["down on AWS", awsReport(3, 2, changes)],
];

const WIDTHS = [375, 768, 1280] as const;

describe.skipIf(browser === undefined)(name, () => {
  describe.each([
    ["light", "rgb(255, 255, 255)"],
    ["dark", "rgb(13, 17, 23)"],
  ])("%s", (theme, background) => {
    let measured: Measured[];
    const frames = reports.flatMap(([title, report]) => WIDTHS.map((widthPixels) => ({ title, report, widthPixels })));
    beforeAll(async () => {
      const pages = frames.map(({ report, widthPixels }) => ({ page: renderHtml(report), widthPixels }));
      measured = await measurePages(browser ?? "", pages, theme === "dark");
    });

    it.each(frames.map(({ title, widthPixels }, index) => [title, widthPixels, index] as const))(
      "%s, fits %i pixels with all that it has to say",
      (_, widthPixels, index) => {
        const report = frames[index]?.report;
        const found = measured[index];
        expect(found?.windowWidth).toBe(widthPixels);
        expect(found?.pageWidth).toBeLessThanOrEqual(widthPixels);
        expect(found?.overflowing).toEqual([]);
        expect(found?.visible).toEqual({
          steps: report?.steps.length,
          changes: report?.changes.length,
          pictures: report?.before ? 2 : 1,
        });
        expect(found?.background).toBe(background);
      },
    );
  });
});
