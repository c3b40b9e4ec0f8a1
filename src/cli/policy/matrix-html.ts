/** The truth table as one page that needs nothing from anywhere: colours for the eye, ports on hovering. */
import type { MatrixResult, MatrixTotals, NamedClass } from '#policy';
import { byPair, cellSign, cellWords } from './matrix-text.ts';

const style = `body{font:14px system-ui,sans-serif;margin:2em}table{border-collapse:collapse}
th{font-weight:normal;text-align:left;padding:2px 8px;white-space:nowrap}thead th{writing-mode:vertical-rl;transform:rotate(180deg);padding:8px 2px}
td{width:1.6em;height:1.6em;text-align:center;border:1px solid #ddd;color:#333}
.all{background:#b7e4c7}.none{background:#f4b6b6}.part{background:#ffe8a3}tbody tr:hover th{background:#eee}p{max-width:60em}`;

export function matrixHtml(
  classes: readonly NamedClass[],
  results: readonly MatrixResult[],
  totals: MatrixTotals,
): string {
  const cells = byPair(results);
  const sources = new Set(results.map(({ from }) => from));
  const targets = new Set(results.map(({ to }) => to));
  const rows = classes.filter(({ name }) => sources.has(name));
  const columns = classes.filter(({ name }) => targets.has(name));
  const head = columns.map((one) => `<th title="${members(one)}">${escaped(one.name)}</th>`).join('');
  const body = rows.map((row) => {
    const signs = columns.map((column) => cellHtml(cells(row.name, column.name)));
    return `<tr><th title="${members(row)}">${escaped(row.name)}</th>${signs.join('')}</tr>`;
  });
  const legend = Object.entries(cellWords).map(([sign, word]) => `<b>${sign}</b> ${word}`);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Network policy: who reaches whom</title><style>${style}</style></head><body>
<h1>Who reaches whom</h1>
<p>A row a source, a column a target. ${totals.allowed} allowed, ${totals.denied} denied (each pair, port and family). ${legend.join(', ')}.</p>
<table><thead><tr><th></th>${head}</tr></thead>
<tbody>
${body.join('\n')}
</tbody></table></body></html>
`;
}

function cellHtml(results: readonly MatrixResult[]): string {
  const sign = cellSign(results);
  if (sign === ' ') return '<td></td>';
  const kind = sign === '+' ? 'all' : sign === '.' ? 'none' : 'part';
  const lines = results.map(({ protocol, port, family, verdict }) => `${protocol} ${port} ${family}: ${verdict}`);
  const { from, to } = results[0]!;
  return `<td class="${kind}" title="${escaped([`${from} to ${to}`, ...lines].join('\n'))}">${sign}</td>`;
}

const membersShownMax = 20;

function members({ members: all }: NamedClass): string {
  const more = all.length > membersShownMax ? [`and ${all.length - membersShownMax} more`] : [];
  return escaped([...all.slice(0, membersShownMax), ...more].join('\n'));
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
