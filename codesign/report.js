'use strict';
// The page's own script: one set of rows, seen as plot, table and lines. `report` is the data, written before this file.
const view = report.view;
const column = Object.fromEntries((view ? view.columns : []).map((item, place) => [item.key, place]));
const colours = {front: '#0072B2', other: '#8A8A8A', picked: '#D55E00', selected: '#B0006D', baseline: '#6E6E6E'};
const symbols = ['circle', 'square', 'diamond', 'triangle-up', 'x', 'cross'];
const PAGE_ROWS = 50;
const state = {order: [], selected: new Set(), page: 0, sortKey: null, rising: true, filters: {}, marked: null,
  chosen: null, baseline: null};
const element = id => document.getElementById(id);

function make(tag, attributes = {}, text = null) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  return made;
}

// Plotly reads its texts as HTML.
const escaped = text => String(text).replace(/[&<>"]/g, sign => ({'&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;'})[sign]);

function shown(value) {
  if (value === null) return '–';
  return typeof value === 'number' && !Number.isInteger(value) ? String(Number(value.toPrecision(5))) : String(value);
}

// ---- rows: filters and order

// A filter of numbers is `4`, `<4`, `>=4`, `3..5`; of texts, a part of the text. Null: not understood.
function filterOf(kind, text) {
  const wanted = text.trim().toLowerCase();
  if (wanted === '') return () => true;
  if (kind === 'text') return value => value !== null && String(value).toLowerCase().includes(wanted);
  const span = wanted.match(/^(\S+?)\s*\.\.\s*(\S+)$/), sign = wanted.match(/^(<=|>=|<|>|=)?\s*(\S+)$/);
  if (span) {
    const [low, high] = [Number(span[1]), Number(span[2])];
    return Number.isNaN(low) || Number.isNaN(high) ? null : value => value !== null && value >= low && value <= high;
  }
  const bound = sign ? Number(sign[2]) : NaN;
  if (Number.isNaN(bound)) return null;
  const tests = {'<': v => v < bound, '<=': v => v <= bound, '>': v => v > bound, '>=': v => v >= bound};
  const test = tests[sign[1]] || (v => v === bound);
  return value => value !== null && test(value);
}

function applyFilters() {
  const tests = [];
  for (const [key, text] of Object.entries(state.filters)) {
    const input = element('filter-' + column[key]), test = filterOf(view.columns[column[key]].kind, text);
    input.setAttribute('aria-invalid', test === null);
    if (test) tests.push(row => test(row[column[key]]));
  }
  if (element('only-front').checked) tests.push((_, id) => front.has(id));
  if (element('only-selected').checked) tests.push((_, id) => state.selected.has(id));
  state.order = view.rows.map((_, id) => id).filter(id => tests.every(test => test(view.rows[id], id)));
  sortOrder();
  state.page = 0;
  draw();
}

function sortOrder() {
  if (state.sortKey === null) {
    state.order.sort((a, b) => front.has(b) - front.has(a) || a - b);
    return;
  }
  const place = column[state.sortKey], direction = state.rising ? 1 : -1;
  state.order.sort((first, second) => {
    const a = view.rows[first][place], b = view.rows[second][place];
    // What has no value stands last in both directions; equal rows keep the order of their points.
    if (a === null || b === null) return (a === null) - (b === null) || first - second;
    return direction * (typeof a === 'number' ? a - b : a.localeCompare(b)) || first - second;
  });
}

function sortBy(key) {
  state.rising = state.sortKey === key ? !state.rising : true;
  state.sortKey = key;
  sortOrder();
  state.page = 0;
  drawTable();
}

function select(ids, on) {
  for (const id of ids) on ? state.selected.add(id) : state.selected.delete(id);
  // The design that is compared is the one selected last, of several at once the first.
  if (on && ids.length) state.chosen = ids[0];
  else if (!state.selected.has(state.chosen)) state.chosen = [...state.selected].at(-1) ?? null;
  drawComparison();
  if (element('only-selected').checked) applyFilters(); else draw();
}

// ---- table

function buildTable() {
  const titles = make('tr'), filters = make('tr');
  titles.append(make('th', {scope: 'col'}, 'select'));
  filters.append(make('td'));
  view.columns.forEach((item, place) => {
    const title = make('th', {scope: 'col', 'aria-sort': 'none', id: 'head-' + place});
    const button = make('button', {type: 'button', 'data-key': item.key}, item.label);
    button.addEventListener('click', () => sortBy(item.key));
    title.append(button);
    titles.append(title);
    const hint = item.kind === 'number' ? 'number, <4, >=4 or 3..5' : 'part of the text';
    const input = make('input', {id: 'filter-' + place, type: 'search', size: 6, title: hint});
    input.setAttribute('aria-label', `filter ${item.label}: ${hint}`);
    input.addEventListener('input', () => { state.filters[item.key] = input.value; applyFilters(); });
    const cell = make('td');
    cell.append(input);
    filters.append(cell);
  });
  element('points-table').tHead.append(titles, filters);
}

function drawTable() {
  const body = element('points-table').tBodies[0], pages = Math.max(1, Math.ceil(state.order.length / PAGE_ROWS));
  state.page = Math.min(state.page, pages - 1);
  body.replaceChildren(...state.order.slice(state.page * PAGE_ROWS, (state.page + 1) * PAGE_ROWS).map(tableRow));
  view.columns.forEach((item, place) => {
    const order = item.key !== state.sortKey ? 'none' : state.rising ? 'ascending' : 'descending';
    element('head-' + place).setAttribute('aria-sort', order);
  });
  element('page-text').textContent = `page ${state.page + 1} of ${pages}`;
  element('page-back').disabled = state.page === 0;
  element('page-on').disabled = state.page === pages - 1;
  element('count').textContent =
    `${state.order.length} of ${view.rows.length} rows pass the filters, ${state.selected.size} selected`;
}

function tableRow(id) {
  const line = make('tr', {'data-id': id}), box = make('input', {type: 'checkbox'}), first = make('td');
  box.checked = state.selected.has(id);
  box.setAttribute('aria-label', `select point ${view.rows[id][column.point]}`);
  box.addEventListener('change', () => {
    select([id], box.checked);
    // The row was drawn anew: the keyboard stays where it was.
    const again = element('points-table').querySelector(`tr[data-id="${id}"] input`);
    if (again) again.focus();
  });
  line.addEventListener('focusin', () => drawDetail(id));
  line.addEventListener('mouseenter', () => drawDetail(id));
  first.append(box);
  line.append(first);
  view.rows[id].forEach((value, place) => line.append(make('td', {class: view.columns[place].kind}, shown(value))));
  line.classList.toggle('selected', box.checked);
  line.classList.toggle('on-front', front.has(id));
  line.classList.toggle('picked', view.picked.includes(id));
  return line;
}

function turnTo(id) {
  const place = state.order.indexOf(id);
  if (place < 0) return;
  state.page = Math.floor(place / PAGE_ROWS);
  drawTable();
}

function drawDetail(id) {
  if (state.marked === id) return;
  state.marked = id;
  const list = make('dl', {class: 'pairs'});
  view.rows[id].forEach((value, place) => {
    if (value === null) return;
    const pair = make('div');
    pair.append(make('dt', {}, view.columns[place].label), make('dd', {}, shown(value)));
    list.append(pair);
  });
  element('detail').replaceChildren(make('h3', {}, `Point ${view.rows[id][column.point]}`), list);
}

// ---- plot

function hoverText(id) {
  return view.columns
    .map((item, place) => [item.label, view.rows[id][place]])
    .filter(([, value]) => value !== null && value !== '')
    .map(([label, value]) => `${escaped(label)}: ${escaped(shown(value))}`).join('<br>');
}

function pointTrace(name, ids, marker, x, y, bars) {
  const value = key => ids.map(id => view.rows[id][column[key]]);
  const trace = {
    type: 'scatter', mode: 'markers', name, x: value(x), y: value(y), customdata: ids, marker,
    text: ids.map(hoverText), hovertemplate: '%{text}<extra></extra>',
  };
  const error = key => {
    const at = value(key), low = value('ci95_low'), high = value('ci95_high');
    return {type: 'data', symmetric: false, thickness: 1, width: 2, array: at.map((v, i) => high[i] - v),
            arrayminus: at.map((v, i) => v - low[i])};
  };
  if (bars && x === 'accuracy') trace.error_x = error(x);
  if (bars && y === 'accuracy') trace.error_y = error(y);
  return trace;
}

// The front is a staircase only in the plane of a study's two objectives; elsewhere its designs are marked and no more.
function stairs(ids, x, y) {
  const goals = Object.fromEntries(view.objectives.map(item => [item.key, item.goal]));
  if (view.objectives.length !== 2 || !(x in goals) || !(y in goals) || ids.length === 0) return null;
  const value = (id, key) => view.rows[id][column[key]];
  const sorted = [...ids].sort((a, b) => value(a, x) - value(b, x));
  const shape = goals[x] === 'min' ? 'hv' : 'vh';
  return {type: 'scatter', mode: 'lines', x: sorted.map(id => value(id, x)), y: sorted.map(id => value(id, y)),
          line: {shape, color: colours.front, width: 2}, hoverinfo: 'skip', showlegend: false};
}

function pointTraces(x, y) {
  const drawn = state.order.filter(id => view.rows[id][column[x]] !== null && view.rows[id][column[y]] !== null);
  const traces = [], bars = drawn.length <= 500 && 'ci95_low' in column;
  view.stages.forEach((stage, number) => {
    const own = drawn.filter(id => view.rows[id][column.stage] === stage), symbol = symbols[number % symbols.length];
    const best = own.filter(id => front.has(id)), rest = own.filter(id => !front.has(id));
    if (own.length === 0) return;
    const tell = view.stages.length > 1 ? `, stage ${stage}` : '';
    traces.push(pointTrace('other designs' + tell, rest, {color: colours.other, size: 6, symbol, opacity: 0.75}, x, y, bars));
    const line = stairs(best, x, y);
    if (line) traces.push(line);
    traces.push(pointTrace('Pareto front' + tell, best, {color: colours.front, size: 9, symbol}, x, y, bars));
  });
  const star = {color: colours.picked, size: 17, symbol: 'star', line: {color: 'black', width: 1}};
  traces.push(pointTrace('picked design', drawn.filter(id => view.picked.includes(id)), star, x, y, false));
  const ring = {color: 'rgba(0,0,0,0)', size: 15, line: {color: colours.selected, width: 3}};
  traces.push(pointTrace('selected', drawn.filter(id => state.selected.has(id)), ring, x, y, false));
  return traces.filter(trace => trace.x.length);
}

const isLog = key => key !== 'accuracy' && element('log-axes').checked &&
  view.rows.every(row => row[column[key]] === null || row[column[key]] > 0);

function drawPlot() {
  const x = element('axis-x').value, y = element('axis-y').value;
  const axis = key => ({
    title: {text: escaped(view.columns[column[key]].label) + (isLog(key) ? ', log scale' : '')},
    type: isLog(key) ? 'log' : 'linear', automargin: true, exponentformat: 'power', nticks: 8, gridcolor: '#e5e5e5',
  });
  const layout = {
    height: 520, template: 'none', margin: {l: 70, r: 20, t: 60, b: 60}, dragmode: 'select', hovermode: 'closest',
    font: {family: 'system-ui, sans-serif', size: 13, color: '#222'}, hoverlabel: {align: 'left', bgcolor: '#fff'},
    xaxis: axis(x), yaxis: axis(y), legend: {orientation: 'h', y: 1.02, yanchor: 'bottom', x: 0}, selections: [],
  };
  return Plotly.react('plot-points', pointTraces(x, y), layout, {displaylogo: false, responsive: true});
}

function listenToPlot() {
  const plot = element('plot-points'), ids = event => [...new Set(event.points.map(point => point.customdata))];
  plot.on('plotly_selected', event => {
    if (!event || !event.points.length) return;
    select(ids(event), true);
    turnTo(event.points[0].customdata);
  });
  plot.on('plotly_click', event => {
    const [id] = ids(event);
    select([id], !state.selected.has(id));
    turnTo(id);
  });
  plot.on('plotly_hover', event => { if (event.points[0].customdata !== undefined) drawDetail(event.points[0].customdata); });
}

// ---- parallel coordinates

function lineAxes() {
  const measured = new Set([...view.objectives.map(item => item.key)]);
  return view.columns.filter(item => {
    if (!measured.has(item.key) && !item.axis) return false;
    return new Set(view.rows.map(row => row[column[item.key]]).filter(value => value !== null)).size > 1;
  }).map(item => {
    const values = view.rows.map(row => row[column[item.key]]).filter(value => value !== null);
    if (item.kind === 'text') {
      const names = [...new Set(values)].sort();
      return {item, ticks: names, at: value => names.length > 1 ? names.indexOf(value) / (names.length - 1) : 0.5};
    }
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
    const scale = low > 0 && high / low > 10 ? Math.log : value => value;
    return {item, ticks: [low, high], at: value => (scale(value) - scale(low)) / ((scale(high) - scale(low)) || 1)};
  });
}

function drawLines() {
  const canvas = element('lines'), ratio = window.devicePixelRatio || 1, pen = canvas.getContext('2d');
  const step = 110, width = Math.max(canvas.parentElement.clientWidth - 2, step * axes.length), height = 340;
  canvas.style.width = width + 'px';
  canvas.style.height = height + 'px';
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  pen.scale(ratio, ratio);
  const top = 48, bottom = height - 26, gap = width / axes.length;
  const x = place => gap * (place + 0.5), y = part => bottom - part * (bottom - top);
  const polyline = id => {
    pen.beginPath();
    let broken = true;
    axes.forEach((axis, place) => {
      const value = view.rows[id][column[axis.item.key]];
      if (value === null) { broken = true; return; }
      broken ? pen.moveTo(x(place), y(axis.at(value))) : pen.lineTo(x(place), y(axis.at(value)));
      broken = false;
    });
    pen.stroke();
  };
  const layer = (ids, colour, alpha, thick) => {
    pen.strokeStyle = colour; pen.globalAlpha = alpha; pen.lineWidth = thick;
    ids.forEach(polyline);
  };
  const ok = state.order.filter(id => view.rows[id][column.status] === 'ok');
  layer(ok.filter(id => !front.has(id)), colours.other, Math.max(0.04, Math.min(0.5, 60 / ok.length)), 1);
  layer(ok.filter(id => front.has(id)), colours.front, 0.8, 1.4);
  layer(ok.filter(id => view.picked.includes(id)), colours.picked, 1, 2.5);
  layer(ok.filter(id => state.selected.has(id)), colours.selected, 1, 2.5);
  pen.globalAlpha = 1;
  axes.forEach((axis, place) => drawLineAxis(pen, axis, x(place), y, gap, place));
}

function drawLineAxis(pen, axis, x, y, gap, place) {
  pen.strokeStyle = '#333'; pen.fillStyle = '#222'; pen.lineWidth = 1; pen.textAlign = 'center';
  pen.beginPath();
  pen.moveTo(x, y(0));
  pen.lineTo(x, y(1));
  pen.stroke();
  pen.font = '600 12px system-ui, sans-serif';
  pen.fillText(axis.item.label, x, place % 2 ? 12 : 27, gap * 1.9);
  pen.font = '12px system-ui, sans-serif';
  if (axis.item.kind === 'text') {
    axis.ticks.forEach(name => {
      pen.fillStyle = 'rgba(255,255,255,0.8)';
      pen.fillRect(x - pen.measureText(name).width / 2 - 2, y(axis.at(name)) - 9, pen.measureText(name).width + 4, 13);
      pen.fillStyle = '#222';
      pen.fillText(name, x, y(axis.at(name)) + 2, gap - 6);
    });
    return;
  }
  pen.fillText(shown(axis.ticks[0]), x, y(0) + 16, gap - 6);
  pen.fillText(shown(axis.ticks[1]), x, y(1) - 6, gap - 6);
}

// ---- the whole page

function draw() {
  drawTable();
  drawPlot();
  drawLines();
}

function fillMenus() {
  for (const [id, key] of [['axis-x', view.x], ['axis-y', view.y]]) {
    const menu = element(id);
    for (const item of view.columns.filter(item => item.kind === 'number' && item.key !== 'point' && !item.key.startsWith('ci95'))) {
      menu.append(make('option', {value: item.key}, item.label));
    }
    menu.value = key;
    menu.addEventListener('change', drawPlot);
  }
  element('log-axes').addEventListener('change', drawPlot);
  for (const id of ['only-front', 'only-selected']) element(id).addEventListener('change', applyFilters);
  element('page-back').addEventListener('click', () => { state.page -= 1; drawTable(); });
  element('page-on').addEventListener('click', () => { state.page += 1; drawTable(); });
  element('select-none').addEventListener('click', () => { select([...state.selected], false); applyFilters(); });
  element('select-shown').addEventListener('click', () => select(state.order, true));
  element('reset').addEventListener('click', () => {
    state.filters = {};
    state.sortKey = null;
    for (const input of document.querySelectorAll('#points-table thead input')) input.value = '';
    for (const id of ['only-front', 'only-selected']) element(id).checked = false;
    applyFilters();
  });
}

const front = new Set(view ? view.front : []);
const axes = view ? lineAxes() : [];
if (view && view.rows.length) {
  fillMenus();
  buildTable();
  applyFilters();
  listenToPlot();
  listenToComparison();
  let width = 0;
  new ResizeObserver(([entry]) => {
    if (entry.contentRect.width !== width) { width = entry.contentRect.width; drawLines(); }
  }).observe(element('lines').parentElement);
}
for (const [name, plot] of Object.entries(report.plots)) {
  Plotly.newPlot('plot-' + name, plot.data, plot.layout, {displaylogo: false, responsive: true, displayModeBar: false});
}
