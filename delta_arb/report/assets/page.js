// Charts: plotly lies in the page, compressed; each chart's data beside it.
const failed = text => document.querySelectorAll('.chart').forEach(e => { e.textContent = text; });
async function plotly() {
  const packed = Uint8Array.from(atob(document.getElementById('plotly').textContent), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  const script = document.createElement('script');
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}
// On a phone: panels that stand beside each other go below each other, titles wrap above the chart, the legend is below it.
const wrapped = (text, most) => text.replace(RegExp(`(.{1,${most}})(\\s|$)`, 'g'), '$1<br>').replace(/<br>$/, '');
function narrow(chart, data, layout) {
  const { xaxis, xaxis2, yaxis, yaxis2, sliders, updatemenus } = layout;
  layout.height ??= 400;
  if (xaxis2?.domain && xaxis.domain[1] <= xaxis2.domain[0]) {
    xaxis.domain = xaxis2.domain = [0, 1]; yaxis.domain = [0.6, 1]; yaxis2.domain = [0, 0.4];
    layout.height *= 1.6;
    layout.shapes?.filter(shape => shape.yref === 'paper').forEach(shape => { shape.yref = `${shape.xref.replace('x', 'y')} domain`; });
  }
  const names = data[0]?.orientation === 'h'; // they need the room
  for (const axis of [xaxis, xaxis2]) if (axis?.title?.text) axis.title.text = wrapped(axis.title.text, names ? 20 : 38);
  if (names) { delete yaxis.title; yaxis.tickfont = { size: 9 }; }
  if (sliders) { // below levels that stand upright
    for (const slider of sliders) slider.pad.t += 30;
    layout.margin.b += 30; layout.height += 30;
  }
  if (!updatemenus && layout.title?.text) {
    const caption = document.createElement('p');
    caption.textContent = chart.ariaLabel; caption.className = 'caption';
    chart.before(caption);
    delete layout.title;
  }
  for (const [, change] of [['', layout.title ?? {}], ...(updatemenus ?? []).flatMap(menu => menu.buttons.map(button => button.args))]) {
    for (const name of ['text', 'title.text']) if (change[name]) change[name] = change[name].replace(/: (\d{4}-.*); /, '<br>$1<br>'); // a trade's
  }
  if (layout.title) Object.assign(layout.title, { font: { size: 11 }, yref: 'container', y: 0.98, yanchor: 'top' });
  const margin = layout.margin = { ...layout.margin, l: 45, r: 10, t: layout.title ? 30 + 24 * layout.title.text.split('<br>').length : 30 };
  if (!sliders) margin.b = 130;
  updatemenus?.forEach(menu => Object.assign(menu, { x: 0, xanchor: 'left', y: 1, yanchor: 'bottom', pad: { b: 6 }, direction: menu.type === 'dropdown' ? 'down' : 'right' }));
  layout.legend = { orientation: 'h', x: 0, xanchor: 'left', yanchor: 'bottom', ...(sliders ? { y: 1.02 } : { yref: 'container', y: 0 }) };
}
async function draw() {
  const charts = [...document.querySelectorAll('.chart')];
  if (!charts.length) return;
  if (!window.DecompressionStream) return failed('This browser is too old to draw the chart (it lacks DecompressionStream).');
  await plotly();
  for (const chart of charts) {
    const { data, layout, config } = JSON.parse(chart.querySelector('script').textContent);
    chart.replaceChildren();
    if (innerWidth < 700) narrow(chart, data, layout);
    await Plotly.newPlot(chart, data, layout, config);
  }
  document.documentElement.dataset.drawn = charts.length;
}
draw().catch(error => { failed(`This chart could not be drawn: ${error}`); console.error(error); });

// What scrolls sideways can be reached by the keyboard.
document.querySelectorAll('.formula, .output_picture').forEach(e => { if (e.scrollWidth > e.clientWidth) e.tabIndex = 0; });

// The contents are open where there is room beside the page.
const contents = document.querySelector('.contents');
if (contents && innerWidth < 700) contents.open = false;

// Tables: a click on a heading sorts; long ones have a filter and a download.
const UNITS = { s: 1, min: 60, h: 3600, days: 86400 };
const value = text => {
  const n = parseFloat(text.replace(/,/g, '').replace('−', '-'));
  return isNaN(n) ? null : n * (UNITS[text.split(' ')[1]] ?? 1);
};
const order = (a, b) => {
  const x = value(a), y = value(b);
  return x !== null && y !== null && !/^\d{4}-/.test(a) ? x - y : a < b ? -1 : a > b ? 1 : 0;
};
document.querySelectorAll('main table').forEach(table => {
  const heads = [...(table.tHead?.rows[0]?.cells ?? [])], body = table.tBodies[0];
  if (!body) return;
  heads.forEach((head, k) => {
    const sort = () => {
      const down = head.getAttribute('aria-sort') === 'ascending';
      heads.forEach(other => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      const text = row => row.cells[k].textContent.trim();
      [...body.rows].sort((a, b) => (down ? -1 : 1) * order(text(a), text(b))).forEach(row => body.append(row));
    };
    head.tabIndex = 0; head.title = 'sort';
    head.onclick = sort; head.onkeydown = e => { if (e.key === 'Enter') sort(); };
  });
  if (!table.classList.contains('listing')) return;
  const tools = document.createElement('p'), filter = document.createElement('input'), link = document.createElement('a');
  filter.type = 'search'; filter.placeholder = 'filter rows'; filter.ariaLabel = 'filter rows';
  filter.oninput = () => [...body.rows].forEach(row => { row.hidden = !row.textContent.toLowerCase().includes(filter.value.toLowerCase()); });
  link.textContent = 'rows shown as CSV'; link.href = '#'; link.download = `${table.dataset.name || 'table'}.csv`;
  link.onclick = () => {
    const rows = [...table.rows].filter(row => !row.hidden).map(row => [...row.cells].map(c => `"${c.textContent.trim().replace(/"/g, '""')}"`).join(','));
    link.href = URL.createObjectURL(new Blob([rows.join('\n') + '\n'], { type: 'text/csv' }));
  };
  // A click on a row that begins with a time shows that trade's minute with both books, and marks its hour on the basis.
  [...body.rows].filter(row => /^\d{4}-/.test(row.cells[0].textContent)).forEach(row => {
    row.classList.add('timed'); row.title = 'show its minute with both books'; row.tabIndex = 0;
    row.onclick = () => showTrade(row.cells[0].textContent.trim());
    row.onkeydown = e => { if (e.key === 'Enter') row.onclick(); };
  });
  tools.className = 'tools'; tools.append(filter, ' ', link); table.before(tools);
});

function showTrade(opened) {
  const drawn = [...document.querySelectorAll('.chart')].filter(c => c.layout);
  const basis = drawn.find(c => c.layout.xaxis?.type === 'date'), at = Date.parse(opened.replace(' ', 'T') + 'Z'), half = 18e5;
  if (basis) Plotly.relayout(basis, { 'xaxis.range': [at - half, at + half].map(t => new Date(t).toISOString().slice(0, -1)) });
  for (const chart of drawn) {
    const menu = chart.layout.updatemenus?.find(m => m.type === 'dropdown'), k = menu?.buttons.findIndex(b => b.label === opened) ?? -1;
    if (k < 0) continue;
    Plotly.update(chart, menu.buttons[k].args[0], { ...menu.buttons[k].args[1], 'updatemenus[0].active': k });
    return chart.scrollIntoView({ block: 'center' });
  }
  basis?.scrollIntoView({ block: 'center' });
}

// Keys: n and p to the next and the previous section, 1 to 3 to the pages.
document.addEventListener('keydown', e => {
  if (e.target.matches('input, textarea') || e.ctrlKey || e.metaKey || e.altKey) return;
  const heads = [...document.querySelectorAll('main h2[id]')], at = heads.findIndex(h => h.getBoundingClientRect().top > 60);
  const to = { n: heads[at < 0 ? heads.length - 1 : at], p: heads[Math.max(0, (at < 0 ? heads.length : at) - 2)] }[e.key];
  if (to) to.scrollIntoView();
  if (/^[1-9]$/.test(e.key)) document.querySelectorAll('.bar nav a')[e.key - 1]?.click();
});
