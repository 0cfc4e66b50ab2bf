// Edge and cost against the levels that rule, over the last minutes: an SVG drawn anew at each look.

const SVG = "http://www.w3.org/2000/svg";
const NAMES = ["edge", "cost", "entry", "exit"];
const LEFT = 44, BOTTOM = 18, TOP = 8, RIGHT = 6, MOST = 900;

export function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** points: [seconds, edge, cost, entry, exit] in bps, null where there is none; orders: with ts_ns. */
export function draw(svg, points, orders) {
  const width = svg.clientWidth || 600, height = svg.clientHeight || 230;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  if (points.length < 2) {
    svg.append(element("text", { x: LEFT, y: 30 }, "no quotes yet"));
    return;
  }
  const shown = thinned(points);
  const [from, to] = [shown[0][0], shown.at(-1)[0]];
  const values = shown.flatMap(point => point.slice(1)).filter(value => value !== null);
  const margin = 0.05 * (Math.max(...values) - Math.min(...values)) || 1;
  const [low, high] = [Math.min(...values) - margin, Math.max(...values) + margin];
  const x = time => LEFT + (time - from) / (to - from) * (width - LEFT - RIGHT);
  const y = value => TOP + (high - value) / (high - low) * (height - TOP - BOTTOM);
  grid(svg, { low, high, from, to, x, y, width, height });
  NAMES.forEach((name, n) => svg.append(element("path", { class: name, d: path(shown, n + 1, x, y) })));
  for (const order of orders) {
    const time = order.ts_ns / 1e9;
    if (time < from || time > to) continue;
    const near = shown.findLast(point => point[0] <= time + 1e-6) ?? shown[0];
    const mark = element("circle", { class: "sent", cx: x(time), cy: y(near[order.reduce_only || order.qty < 0 && order.leg === "spot" ? 2 : 1] ?? low), r: 3.5 });
    mark.append(element("title", {}, `${order.leg} ${order.qty}`));
    svg.append(mark);
  }
}

function thinned(points) {
  const step = Math.ceil(points.length / MOST);
  return points.filter((_, n) => n % step === 0 || n === points.length - 1);
}

function path(points, n, x, y) {
  let pen = "M", drawn = "";
  for (const point of points) {
    if (point[n] === null) { pen = "M"; continue; }
    drawn += `${pen}${x(point[0]).toFixed(1)} ${y(point[n]).toFixed(1)}`;
    pen = "L";
  }
  return drawn;
}

function grid(svg, { low, high, from, to, x, y, width, height }) {
  const step = nice((high - low) / 4);
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
    svg.append(element("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
    svg.append(element("text", { x: LEFT - 5, y: y(value) + 4, "text-anchor": "end" }, +value.toFixed(6)));
  }
  const days = to - from > 86400;
  for (const share of [0, 0.5, 1]) {
    const time = new Date((from + share * (to - from)) * 1e3).toISOString();
    const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
    const text = days ? time.slice(5, 16).replace("T", " ") : time.slice(11, 19);
    svg.append(element("text", { x: x(from + share * (to - from)), y: height - 4, "text-anchor": anchor }, text));
  }
}

function nice(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map(n => n * power).find(step => step >= rough);
}
