/** A report as one HTML file that needs nothing else: no script, no font, no picture from elsewhere. Pure. */
import { machineText } from './report-markdown.ts';
import type { Measured } from './results.ts';

/** `title` is plain text, `parts` are HTML. */
export function htmlPage(name: string, title: string, measured: Measured, parts: readonly string[]): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(name)}</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>${escape(title)}</h1>
<p class="lead">${escape(machineText(measured))}.<br>Measured ${escape(dateText(measured))}. To repeat it: <code>${escape(measured.command)}</code></p>
${parts.filter((part) => part !== '').join('\n')}
</main>
</body>
</html>
`;
}

const style = `
body { margin: 0; background: #f4f5f5; color: #222; font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 6px; } h2 { font-size: 20px; margin: 36px 0 10px; }
.lead { color: #555; margin: 0 0 18px; } code { background: #e9ecec; padding: 1px 5px; border-radius: 3px; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; }
.tile { background: #fff; border: 1px solid #ddd; border-radius: 6px; padding: 10px 16px; min-width: 190px; flex: 1; }
.tile b { display: block; font-size: 26px; color: #0b7a5c; } .tile.behind b { color: #b8402a; }
.tile small { color: #666; display: block; }
.scroll { overflow-x: auto; background: #fff; border: 1px solid #ddd; border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { padding: 6px 8px; text-align: right; border-bottom: 1px solid #eee; white-space: nowrap; vertical-align: top; }
th { background: #fafafa; font-weight: 600; } th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
td:first-child { white-space: normal; min-width: 150px; max-width: 210px; } th small { display: block; color: #666; font-weight: 400; }
td.best { background: #e3f3ec; } td.never { color: #999; font-style: italic; } td.damaged { background: #fbdcd6; }
td small { color: #666; display: block; } td .ratio { color: #0b7a5c; font-weight: 600; } td .ratio.behind { color: #b8402a; }
figure { margin: 14px 0; background: #fff; border: 1px solid #ddd; border-radius: 6px; padding: 14px; overflow-x: auto; }
figure svg { display: block; max-width: 100%; height: auto; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); gap: 0 14px; }
.holds-yes { color: #0b7a5c; } .holds-partly { color: #b07a1e; } .holds-no { color: #b8402a; } .holds-unknown { color: #888; }
table.claims th, table.claims td { text-align: left; white-space: normal; } table.claims td:first-child { max-width: 300px; }
table.claims b { white-space: nowrap; }
.notes { color: #444; } .notes li { margin: 3px 0; }
`;

function dateText({ date, until }: Measured): string {
  const [from, to] = [date, until].map((each) => each.slice(0, 16).replace('T', ' '));
  return from === to ? `on ${from} UTC` : `from ${from} to ${to} UTC`;
}

/** For text and attribute values. */
export function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
