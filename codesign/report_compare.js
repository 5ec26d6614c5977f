// The selected design beside a baseline: a line of ratios, and energy and area by component where the page holds them.

const COMPARED = [
  ['energy_fJ', 'the energy'], ['latency_ns', 'the latency'], ['area_um2', 'the area'],
  ['edap_J_s_mm2', 'the EDAP (energy × latency × area of one inference)'],
];
const BARS = [['energy', 'Energy by component', 'nJ'], ['area', 'Area by component', 'mm²']];

const cellOf = (id, key) => key in column ? view.rows[id][column[key]] : null;
const times = ratio => ratio >= 1000 || (ratio > 0 && ratio < 0.001) ? ratio.toExponential(2) : String(Number(ratio.toPrecision(3)));

function designText(id) {
  const name = cellOf(id, 'design');
  return `point ${cellOf(id, 'point')}${name ? ` (${name})` : ''}`;
}

function baselineText(id) {
  return `the baseline, ${designText(id)}${view.picked.includes(id) ? ', the picked design' : ''}`;
}

// Why two designs cannot be compared at all, null if they can.
function refusal(id, base) {
  for (const place of [id, base]) {
    if (cellOf(place, 'status') !== 'ok') return `There is nothing to compare: ${designText(place)} has no result.`;
  }
  const [stage, other] = [cellOf(id, 'stage'), cellOf(base, 'stage')];
  return stage === other ? null : `Figures of two stages are not compared: ${designText(id)} is of stage ${stage} and ` +
    `${baselineText(base)}, of stage ${other}. Select a design of stage ${other}, or make this one the baseline.`;
}

function ratioText(id, base) {
  const parts = COMPARED.filter(([key]) => cellOf(id, key) !== null && cellOf(base, key))
    .map(([key, name]) => `${times(cellOf(id, key) / cellOf(base, key))} × ${name}`);
  const accuracies = [id, base].map(place => cellOf(place, 'accuracy')).filter(value => value !== null);
  const accuracy = accuracies.length === 2 ? ` Accuracy: ${accuracies.map(shown).join(' % against ')} %.` : '';
  const last = parts.pop();
  const list = parts.length ? `${parts.join(', ')} and ${last}` : last;
  return `${designText(id).replace('point', 'Point')} has ${list} of ${baselineText(base)}.${accuracy}`;
}

function withoutBars(id) {
  const name = designText(id).replace('point', 'Point');
  if (id in view.breakdown.energy) return '';
  return view.breakdown.left_out.includes(id)
    ? ` ${name} is not drawn by component: this page holds the components of ${view.breakdown.limit} designs only; ` +
      'those of the others are in the ledger.'
    : ` ${name} is not drawn by component: its stage (${cellOf(id, 'stage')}) keeps totals and no components.`;
}

function barTrace(name, id, base, quantity, unit, colour) {
  const values = view.breakdown[quantity][id], other = view.breakdown[quantity][base];
  const total = values.reduce((sum, value) => sum + value, 0) || 1;
  const ratios = values.map((value, i) => other[i] > 0 ? `${times(value / other[i])} ×` : value > 0 ? 'new' : '');
  const against = i => other[i] > 0 ? `<br>${ratios[i]} the baseline's ${shown(other[i])} ${unit}` : '<br>the baseline has none';
  const hover = values.map((value, i) => {
    return `${escaped(view.breakdown.components[i])}, ${escaped(name)}: ${shown(value)} ${unit} ` +
      `(${(100 * value / total).toFixed(1)} %)${id === base ? '' : against(i)}`;
  });
  return {
    type: 'bar', orientation: 'h', name: escaped(name), x: values, y: view.breakdown.components.map(escaped),
    marker: {color: colour}, hovertext: hover, hovertemplate: '%{hovertext}<extra></extra>',
    text: id === base ? [] : ratios, textposition: 'outside', cliponaxis: false,
  };
}

function drawBars(ids, base) {
  for (const [quantity, title, unit] of BARS) {
    const plot = element(`plot-compare-${quantity}`), drawn = ids.filter(id => id in view.breakdown.energy);
    // A ratio of components needs both designs.
    const against = base in view.breakdown.energy ? base : drawn[0];
    plot.hidden = drawn.length === 0;
    if (plot.hidden) continue;
    const traces = drawn.map(id => id === base
      ? barTrace(`baseline, point ${cellOf(id, 'point')}`, id, against, quantity, unit, colours.baseline)
      : barTrace(`selected, point ${cellOf(id, 'point')}`, id, against, quantity, unit, colours.selected));
    Plotly.react(plot, traces, {
      title: {text: `${title} (${unit})`, font: {size: 15}, x: 0, y: 1, yanchor: 'top', pad: {t: 8, l: 8}}, barmode: 'group',
      bargap: 0.25, height: 140 + 30 * view.breakdown.components.length, template: 'none', hovermode: 'closest',
      font: {family: 'system-ui, sans-serif', size: 13, color: '#222'}, hoverlabel: {align: 'left', bgcolor: '#fff'},
      margin: {l: 10, r: 50, t: 84, b: 40}, xaxis: {rangemode: 'tozero', gridcolor: '#e5e5e5', zeroline: false},
      yaxis: {autorange: 'reversed', automargin: true}, showlegend: true,
      legend: {orientation: 'h', y: 1, yanchor: 'bottom', x: 0, traceorder: 'normal'},
    }, {displaylogo: false, responsive: true, displayModeBar: false});
  }
}

function drawComparison() {
  const base = state.baseline, id = state.chosen;
  element('make-baseline').disabled = id === null || id === base || cellOf(id, 'status') !== 'ok';
  element('first-baseline').disabled = base === view.breakdown.baseline;
  if (base === null) {
    element('compare-text').textContent = 'No design has a result yet: there is nothing to compare.';
    return drawBars([], base);
  }
  if (id === null || id === base) {
    const lead = id === null ? 'Select a design to compare it with' : 'The selected design is';
    element('compare-text').textContent = `${lead} ${baselineText(base)}.${withoutBars(base)}`;
    return drawBars([base], base);
  }
  const refused = refusal(id, base);
  element('compare-text').textContent = refused || ratioText(id, base) + withoutBars(id) + withoutBars(base);
  // The selected design stands above its baseline.
  drawBars(refused ? [] : [id, base], base);
}

function setBaseline(id) {
  state.baseline = id;
  drawComparison();
}

function listenToComparison() {
  element('make-baseline').addEventListener('click', () => setBaseline(state.chosen));
  element('first-baseline').addEventListener('click', () => setBaseline(view.breakdown.baseline));
  setBaseline(view.breakdown.baseline);
}
