document.querySelectorAll('.until').forEach(e => {
  if (Date.parse(e.dataset.until) < Date.now()) { e.classList.add('stale'); e.textContent = 'STALE since'; }
});
document.querySelectorAll('table.runs th').forEach((th, k) => th.onclick = () => {
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
const filter = document.getElementById('filter');
filter.oninput = () => document.querySelectorAll('table.runs tbody tr').forEach(row => {
  row.hidden = !row.textContent.toLowerCase().includes(filter.value.toLowerCase());
});
