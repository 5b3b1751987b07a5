"""The report's style sheet: light and dark, wide and narrow. Here as text, so that no other file is needed."""

STYLE = """\
:root {
  --page: #f6f7f9; --card: #ffffff; --ink: #16202c; --soft: #5b6775; --rule: #dfe4ea;
  --good: #14713d; --good-page: #e3f4ea; --bad: #b3261e; --bad-page: #fbe6e4; --limit: #c22f28;
  --c1: #2563c9; --c2: #d9730d; --c3: #2c8a57; --c4: #8a4fc2; --c5: #8b96a3; --c6: #b8337a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --card: #1b212a; --ink: #e8ecf1; --soft: #a3aebb; --rule: #323b47;
    --good: #7fd8a4; --good-page: #17352a; --bad: #ff9d95; --bad-page: #45201e; --limit: #ff7b72;
    --c1: #6ea8ff; --c2: #f2a04e; --c3: #5fc48d; --c4: #bd93f0; --c5: #8c97a5; --c6: #ef7fb5;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1180px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.75rem; margin: 0 0 8px; letter-spacing: -0.01em; }
h2 { font-size: 1.05rem; margin: 0 0 4px; }
p { margin: 0 0 12px; max-width: 75ch; }
code { font-size: 0.92em; }
header, section, figure {
  margin: 0 0 16px; padding: 18px 20px; background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
}
.verdict { display: inline-block; max-width: none; padding: 5px 12px; border-radius: 8px; font-weight: 600; }
.good { color: var(--good); background: var(--good-page); }
.bad { color: var(--bad); background: var(--bad-page); }
.notes { margin: 0 0 12px; padding-left: 20px; }
.facts {
  margin: 8px 0 0;
  display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr));
  gap: 4px 28px;
}
.facts div { display: grid; grid-template-columns: 96px 1fr; gap: 8px; font-size: 0.9rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 16px; }
.tiles p { margin: 6px 0 0; color: var(--soft); font-size: 0.88rem; line-height: 1.35; }
.tiles b {
  display: block;
  color: var(--ink);
  font-size: 1.75rem;
  line-height: 1.2;
  font-variant-numeric: tabular-nums;
}
.figures {
  display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr));
  gap: 16px;
  margin-bottom: 16px;
}
figure { margin: 0; display: flex; flex-direction: column; }
figure p { color: var(--soft); font-size: 0.88rem; line-height: 1.4; margin-bottom: 10px; }
.legend {
  display: flex;
  flex-wrap: wrap;
  gap: 2px 18px;
  margin: 0 0 8px;
  padding: 0;
  list-style: none;
  font-size: 0.85rem;
}
.legend li { display: flex; align-items: center; gap: 7px; }
.key { width: 26px; height: 10px; flex: none; }
.plot { width: 100%; max-width: 600px; height: auto; display: block; }
figure:last-child:nth-child(odd) { grid-column: 1 / -1; }
.plot text { font-size: 13px; fill: var(--soft); font-variant-numeric: tabular-nums; }
.plot .strong { fill: var(--ink); font-weight: 600; }
.plot .name { fill: var(--soft); }
.plot .limit-name { fill: var(--limit); font-weight: 600; }
.grid { stroke: var(--rule); stroke-width: 1; }
.axis { stroke: var(--soft); stroke-width: 1; }
.limit { stroke: var(--limit); stroke-width: 2; stroke-dasharray: 2 4; stroke-linecap: round; }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round; }
.stroke1 { stroke: var(--c1); } .stroke2 { stroke: var(--c2); } .stroke3 { stroke: var(--c3); }
.stroke4 { stroke: var(--c4); } .stroke5 { stroke: var(--c5); } .stroke6 { stroke: var(--c6); }
.fill1 { fill: var(--c1); } .fill2 { fill: var(--c2); } .fill3 { fill: var(--c3); }
.fill4 { fill: var(--c4); } .fill5 { fill: var(--c5); } .fill6 { fill: var(--c6); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; min-width: 100%; }
th, td { padding: 5px 10px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule); }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child { padding-left: 0; text-align: left; }
tbody tr:last-child td { border-bottom: 0; }
section ul { margin: 4px 0 0; padding-left: 20px; }
@media (max-width: 560px) {
  main { padding: 12px 10px 40px; }
  header, section, figure { padding: 14px; }
  .plot text { font-size: 16.5px; }
  .tiles { grid-template-columns: 1fr 1fr; }
  .tiles b { font-size: 1.5rem; }
}
"""
