"""Looks of the report: a stylesheet and the script that sorts a table when its header is clicked."""

from __future__ import annotations

STYLE = """
body{margin:0;background:#f4f5f7;color:#222;font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1240px;margin:0 auto;padding:24px 28px;background:#fff}
h1{margin:0 0 8px;font-size:26px} h2{margin:30px 0 8px;font-size:19px;border-bottom:1px solid #ddd}
.pick{padding:12px 16px;background:#eef5fb;border-left:5px solid #0072B2;font-size:16px}
.cards{display:flex;flex-wrap:wrap;gap:12px;margin:14px 0}
.card{flex:1 1 150px;padding:10px 14px;border:1px solid #ddd;border-radius:6px}
.card span{display:block;color:#555;font-size:13px} .card b{font-size:20px;white-space:nowrap}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,540px),1fr));gap:10px}
.weak{margin:14px 0;padding:10px 16px;background:#fdf6e3;border-left:5px solid #E69F00;font-size:14px}
.weak ul{margin:6px 0 0;padding-left:20px}
.scroll{overflow-x:auto;max-height:640px}
table{border-collapse:collapse;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{padding:4px 10px;border-bottom:1px solid #e5e5e5;text-align:left;vertical-align:top}
thead th{position:sticky;top:0;background:#f0f0f0} .sortable thead th{cursor:pointer}
.sortable td:not(:first-child){text-align:right} .sortable td{white-space:nowrap}
.sortable th,.sortable td{padding:4px 8px}
.picked td{background:#fdf0e6;font-weight:600}
.pairs{columns:3 300px;column-gap:28px;font-size:13.5px}
.pairs div{display:flex;gap:10px;justify-content:space-between;border-bottom:1px solid #e5e5e5;break-inside:avoid}
.pairs dt{color:#444;white-space:nowrap} .pairs dd{margin:0;text-align:right;overflow-wrap:anywhere}
pre{background:#f6f6f6;padding:10px;overflow-x:auto;font-size:13px}
@media print{main{max-width:none}.scroll{max-height:none}}
"""

SORT_SCRIPT = """
for (const table of document.querySelectorAll('table.sortable')) {
  table.querySelectorAll('th').forEach((head, column) => {
    let direction = 1;
    head.title = 'sort by this column';
    head.addEventListener('click', () => {
      const body = table.tBodies[0];
      const key = row => row.cells[column].textContent;
      const rows = [...body.rows].sort((a, b) => {
        const x = parseFloat(key(a)), y = parseFloat(key(b));
        const order = Number.isNaN(x) || Number.isNaN(y) ? key(a).localeCompare(key(b)) : x - y;
        return direction * order;
      });
      direction = -direction;
      body.append(...rows);
    });
  });
}
"""
