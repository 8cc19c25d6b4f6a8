/** How the page of a report looks: in light and dark, from a phone's width on. */
export const PAGE_STYLE = `
:root { color-scheme: light dark; --page: #ffffff; --card: #f6f8fa; --line: #d1d9e0; --text: #1f2328; --soft: #59636e;
  --blue: #2f6fb7; --blue-soft: #dbe9f7; --green: #1a7f37; --green-soft: #dafbe1; --amber: #9a6700; --amber-soft: #fff3c9;
  --red: #cf222e; --red-soft: #ffebe9; --pause: #e0701a; }
@media (prefers-color-scheme: dark) { :root { --page: #0d1117; --card: #161b22; --line: #30363d; --text: #e6edf3; --soft: #9198a1;
  --blue: #58a6ff; --blue-soft: #15304f; --green: #3fb950; --green-soft: #12331f; --amber: #e3b341; --amber-soft: #3a2f0b;
  --red: #ff7b72; --red-soft: #48191c; --pause: #f0883e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 16px; max-width: 1120px; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 20px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 32px 0 10px; } p { margin: 4px 0; }
code { font: 13px ui-monospace, SFMono-Regular, Menlo, monospace; }
.soft { color: var(--soft); font-size: 13px; }
.verdict { border: 1px solid var(--line); border-left: 6px solid var(--tone); background: var(--tone-soft); border-radius: 8px; padding: 14px 16px; }
.verdict b { color: var(--tone); font-size: 18px; }
.none, .safe { --tone: var(--green); --tone-soft: var(--green-soft); } .restarts { --tone: var(--amber); --tone-soft: var(--amber-soft); }
.unsafe { --tone: var(--red); --tone-soft: var(--red-soft); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 14px 0 0; padding: 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px; }
.facts dt { color: var(--soft); font-size: 12.5px; } .facts dd { margin: 0; font-weight: 600; }
.warn { border: 1px solid var(--line); border-left: 6px solid var(--red); border-radius: 8px; padding: 10px 16px; margin-top: 14px; }
.warn ul, .notes { margin: 6px 0 0; padding-left: 18px; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 8px 10px; white-space: pre-wrap; font: 12.5px ui-monospace, monospace; }
.pictures { display: grid; grid-template-columns: 1fr; gap: 16px; }
@media (min-width: 760px) { .pictures.two { grid-template-columns: 1fr 1fr; } }
figure { margin: 0; padding: 10px; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
figcaption { font-weight: 600; margin-bottom: 6px; } figure svg { display: block; width: 100%; max-width: 460px; margin: 0 auto; }
svg text { text-anchor: middle; fill: var(--text); } svg .t1 { font-size: 13px; font-weight: 600; } svg .t2 { font-size: 12px; }
svg rect { fill: var(--page); stroke: var(--soft); stroke-width: 1.2; } svg .clients { fill: none; stroke-dasharray: 4 3; }
svg .server.same { fill: var(--blue-soft); stroke: var(--blue); }
svg .new { fill: var(--green-soft); stroke: var(--green); stroke-width: 2; } svg .changed { fill: var(--amber-soft); stroke: var(--amber); stroke-width: 2; }
svg .goes { fill: var(--red-soft); stroke: var(--red); stroke-width: 2; stroke-dasharray: 6 3; }
svg .flow { fill: none; stroke: var(--soft); stroke-width: 1.2; } svg .dashed { stroke-dasharray: 3 3; } svg .tip { fill: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 8px 0 0; padding: 0; list-style: none; font-size: 13px; color: var(--soft); }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; border: 2px solid var(--tone); background: var(--tone-soft); vertical-align: -2px; margin-right: 5px; }
.l-new { --tone: var(--green); --tone-soft: var(--green-soft); } .l-changed { --tone: var(--amber); --tone-soft: var(--amber-soft); }
.l-goes { --tone: var(--red); --tone-soft: var(--red-soft); } .l-pause { --tone: var(--pause); --tone-soft: var(--pause); } .l-work { --tone: var(--blue); --tone-soft: var(--blue); }
ol.steps { list-style: none; margin: 0; padding: 0; border: 1px solid var(--line); border-radius: 8px; }
ol.steps li { padding: 10px 14px; border-top: 1px solid var(--line); } ol.steps li:first-child { border-top: 0; }
ol.steps li.final { border-left: 6px solid var(--red); }
.head { display: flex; flex-wrap: wrap; gap: 2px 12px; align-items: baseline; } .head .time { margin-left: auto; font-variant-numeric: tabular-nums; white-space: nowrap; }
.chip { background: var(--pause); color: #ffffff; border-radius: 10px; padding: 0 9px; font-size: 13px; font-weight: 600; white-space: nowrap; }
@media (prefers-color-scheme: dark) { .chip { color: #0d1117; } }
.track { position: relative; height: 10px; margin: 6px 0; background: var(--card); border-radius: 5px; overflow: hidden; }
.track span { position: absolute; top: 0; bottom: 0; background: var(--blue); border-radius: 2px; min-width: 3px; } .track .pause { background: var(--pause); min-width: 4px; }
.axis { display: flex; justify-content: space-between; padding: 4px 14px; color: var(--soft); font-size: 12.5px; }
.final-text { color: var(--red); font-weight: 600; }
table { border-collapse: collapse; width: 100%; font-size: 14px; } th, td { text-align: left; vertical-align: top; padding: 6px 10px 6px 0; border-top: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; font-size: 13px; } .money { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; padding-right: 0; padding-left: 10px; }
tr.sum td { font-weight: 600; } tr.differs td:last-child { font-weight: 600; } tr.refused td:first-child, tr.allowed td:first-child { color: var(--red); font-weight: 600; }
details { border: 1px solid var(--line); border-radius: 8px; padding: 8px 14px; } summary { cursor: pointer; font-weight: 600; } details[open] summary { margin-bottom: 8px; }
@media (max-width: 640px) {
  table.stack thead { display: none; } table.stack tr { display: block; border-top: 1px solid var(--line); padding: 8px 0; }
  table.stack td { display: block; border: 0; padding: 1px 0; } table.stack td:empty { display: none; }
  table.stack td[data-name]:not(:empty)::before { content: attr(data-name) ": "; color: var(--soft); font-size: 13px; }
  table.money-table .what { display: none; }
}`;
