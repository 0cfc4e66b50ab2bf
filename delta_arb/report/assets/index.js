document.querySelectorAll('.until').forEach(e => {
  if (Date.parse(e.dataset.until) < Date.now()) { e.classList.add('stale'); e.textContent = 'STALE since'; }
});
const heads = document.querySelectorAll('table.runs th'), sort = document.getElementById('sort');
heads[1].dataset.down = '1'; // it is written newest first
sort.onchange = () => { heads[sort.value].dataset.down = ''; heads[sort.value].onclick(); }; // the largest, or newest, first
document.getElementById('turn').onclick = () => heads[sort.value].onclick();
heads.forEach((th, k) => th.onclick = () => {
  const down = th.dataset.down = th.dataset.down === '1' ? '' : '1', numeric = th.classList.contains('num');
  const value = row => {
    const text = row.cells[k].textContent.trim();
    const number = parseFloat(text.replace('−', '-'));
    return numeric ? (isNaN(number) ? -Infinity : number) : text;
  };
  const order = (a, b) => { const x = value(a), y = value(b); return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1); };
  const body = th.closest('table').tBodies[0];
  [...body.rows].sort(order).forEach(row => body.append(row));
});
const filter = document.getElementById('filter'), kind = document.getElementById('kind');
filter.oninput = kind.onchange = () => document.querySelectorAll('table.runs tbody tr').forEach(row => {
  row.hidden = !row.textContent.toLowerCase().includes(filter.value.toLowerCase()) || Boolean(kind.value) && row.dataset.kind !== kind.value;
});

// Two ticked rows beside each other: every column, the options, and the money over time.
const runs = document.querySelector('table.runs'), compare = document.getElementById('compare');
const line = (course, width, low, high) => course.map((v, k) =>
  `${(width * k / Math.max(course.length - 1, 1)).toFixed(1)},${(76 - 72 * (v - low) / (high - low || 1)).toFixed(1)}`).join(' ');
function beside() {
  const picked = [...runs.querySelectorAll('input:checked')].slice(-2);
  compare.replaceChildren();
  if (picked.length < 2) return;
  const rows = picked.map(box => box.closest('tr')), table = document.createElement('table');
  const add = (name, texts) => {
    const row = table.insertRow();
    [name, ...texts].forEach(text => { row.insertCell().textContent = text; });
    if (texts[0] !== texts[1]) row.className = 'differs';
  };
  [...runs.tHead.rows[0].cells].slice(1).forEach((head, k) => add(head.textContent, rows.map(row => row.cells[k + 1].textContent.trim())));
  add('options', picked.map(box => JSON.parse(box.dataset.options).join(' ') || 'none'));
  const courses = picked.map(box => JSON.parse(box.dataset.course)), all = [0, ...courses.flat()];
  const low = Math.min(...all), high = Math.max(...all), svg = courses.map((course, k) =>
    `<polyline class="run${k}" points="${line(course, 640, low, high)}"/>`).join('');
  compare.append(table);
  compare.insertAdjacentHTML('beforeend', `<p class="quiet">Money over time, each from its beginning to its end (research: equity out of sample; a session: its closed pairs): ${low.toFixed(2)} to
    ${high.toFixed(2)} USDT; solid the first, dashed the second.</p><svg viewBox="0 0 640 80" role="img" aria-label="money of both over time">${svg}</svg>`);
}
runs.addEventListener('change', beside);
