// Shows what the events say. Text from outside is only ever text: nothing here builds HTML out of it.

import { draw } from "./chart.js";

const POINTS = 7200, SILENT_MS = 4000;
const ORDERS = {
  stop: "An orderly end: the legs are brought to rest, then the runner ends.",
  flatten: "Close the open pair now, and stay out until resume.",
  resume: "Lift halts; the accounts count as right as they are now.",
  kill: "Write the kill file: close the open pair now and stay out, also after restarts, until the file is removed.",
};
const cards = new Map(), charts = new Map();
let heard = 0;

const byId = id => document.getElementById(id);

function make(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Numbers

const known = value => value !== null && value !== undefined;
const number = (value, digits = 2) => known(value) ? value.toFixed(digits).replace("-", "\u2212") : "\u2013";
const rounded = value => known(value) ? plain(+value.toFixed(Math.abs(value) >= 100 ? 0 : 2)) : "\u2013";
const signed = (value, digits = 2) => known(value) ? (value > 0 ? "+" : "") + number(value, digits) : "\u2013";
const plain = value => known(value) ? String(+value.toPrecision(10)).replace("-", "\u2212") : "\u2013";
const clock = ns => known(ns) ? new Date(ns / 1e6).toISOString().slice(11, 23) : "\u2013";
const moment = ns => known(ns) ? new Date(ns / 1e6).toISOString().slice(5, 19).replace("T", " ") : "\u2013";
const money = (value, digits = 4) => ({ text: signed(value, digits), className: known(value) ? (value < 0 ? "bad" : value > 0 ? "good" : "") : "" });

function span(seconds) {
  if (!known(seconds)) return "\u2013";
  const s = Math.abs(seconds), sign = seconds < 0 ? "\u2212" : "";
  if (s < 60) return `${sign}${s.toFixed(1)} s`;
  if (s < 3600) return `${sign}${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s < 172800) return `${sign}${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${sign}${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

// Tables

function row(cells, of = "td") {
  const made = make("tr");
  for (const cell of cells) {
    const said = typeof cell === "object" && cell !== null ? cell : { text: cell };
    made.append(make(of, said.text, said.className));
  }
  return made;
}

const left = text => ({ text, className: "text" });
const long = (text, className = "") => ({ text, className: `long ${className}` });

function fill(table, head, rows) {
  const made = [row(head, "th"), ...(rows.length ? rows.map(cells => row(cells)) : [row(["none"])])];
  const body = make("tbody");
  body.append(...made);
  table.replaceChildren(body);
}

// One runner

function card(id) {
  if (!cards.has(id)) {
    const made = byId("runner").content.firstElementChild.cloneNode(true);
    const buttons = made.querySelector(".buttons");
    for (const order of Object.keys(ORDERS)) {
      const button = make("button", order, order === "kill" || order === "flatten" ? "danger" : "");
      button.addEventListener("click", () => ask(order, id));
      buttons.append(button);
    }
    cards.set(id, made);
  }
  return cards.get(id);
}

function show(one, orders) {
  const at = card(one.id), part = name => at.querySelector(`.${name}`), now = one.now, last = one.last;
  at.querySelector("h2").textContent = one.pair;
  const mode = now?.mode ?? one.run?.mode ?? one.kind;
  part("mode").textContent = mode;
  part("mode").classList.toggle("real", mode.startsWith("LIVE"));
  part("synthetic").hidden = !(now?.parameters?.synthetic ?? one.parameters?.synthetic);
  part("phase").textContent = now?.phase ?? last?.phase ?? "no decision yet";
  const up = part("up");
  up.textContent = now ? (now.stopping ? "stopping" : "up") : one.run?.outcome ? `ended: ${one.run.outcome}` : "no runner answers";
  up.className = `up ${now ? "good" : one.run?.outcome ? "" : "bad"}`;
  for (const section of at.querySelectorAll(".live")) section.hidden = !now;
  part("guards").parentElement.hidden = !now?.guards;
  alarm(part("alarm"), one);
  tiles(part("tiles"), one);
  at.querySelector("figcaption").textContent = caption(now);
  draw(at.querySelector("svg"), charts.get(one.id) ?? [], one.orders ?? []);
  books(part("books"), now);
  attribution(part("money"), one);
  guards(part("guards"), now);
  parameters(part("parameters"), one);
  recent(at, one);
  for (const button of part("buttons").children) button.hidden = one.kind === "journal" && button.textContent !== "stop";
  part("buttons").hidden = !orders || (!now && Boolean(one.run?.outcome));
}

function alarm(at, one) {
  const now = one.now, said = [...one.errors];
  if (now?.halted) said.push(`HALTED: ${now.halted}`);
  said.push(...(now?.held ?? []).filter(held => !now.halted || !held.endsWith(now.halted)));
  if (now?.naked_usdt > 0 && !now.working.some(Boolean)) said.push(`The legs differ by ${number(now.naked_usdt)} USDT.`);
  if (!now && one.run && !one.run.outcome) said.push("No runner answers, and its run has no end in the journal.");
  if (!now && one.last && (one.last.spot || one.last.perp) && one.run?.outcome !== "finished")
    said.push(`Left open by the journal: spot ${plain(one.last.spot)}, perp ${plain(one.last.perp)}.`);
  at.hidden = !said.length;
  at.textContent = said.join("\n");
}

function tiles(at, one) {
  const now = one.now, levels = now?.levels, funding = now?.funding;
  const position = now ?? one.last;
  const day = one.money_day?.net, open = now?.open_usdt ?? null;
  const untilStamp = funding?.next_ns ? (funding.next_ns - now.now_ns) / 1e9 : null;
  const list = [
    ["Edge to open", known(now?.edge_bps) ? `${signed(now.edge_bps)} bps` : "\u2013", entering(now, levels)],
    ["Cost to close", known(now?.cost_bps) ? `${signed(now.cost_bps)} bps` : "\u2013", leaving(now, levels)],
    ["Position", position ? `${plain(position.spot)} / ${plain(position.perp)}` : "\u2013", `spot / perp, base units${now ? "" : "; the journal's"}`],
    ["Naked delta", now ? `${number(now.naked_usdt)} USDT` : "\u2013", !now ? "not known" : now.working.some(Boolean) ? "an order works" : "legs at rest"],
    ["Open pair", money(open), now?.opened_ns ? `pair ${now.number}, held ${span((now.now_ns - now.opened_ns) / 1e9)} of ${span(now.max_hold_s)}` : now ? "none" : "not known"],
    ["Day (UTC), closed pairs", money(day), `${one.money_day?.pairs ?? 0} pair${one.money_day?.pairs === 1 ? "" : "s"}; USDT`],
    ["Wallets", now?.wallets ? `${number(now.wallets.spot_usdt)} / ${number(now.wallets.perp_usdt)}` : "\u2013", now?.wallets ? `USDT, spot / futures; ${number(now.wallets.margin_free_usdt)} free there` : "not known"],
    ["Next funding", known(untilStamp) ? span(untilStamp) : "\u2013", known(funding?.rate_bps) ? `${signed(funding.rate_bps)} bps to a short` : "not told"],
  ];
  at.replaceChildren(...list.map(([name, value, small]) => {
    const said = typeof value === "object" ? value : { text: value };
    const made = make("div");
    const dd = make("dd", said.text, said.className);
    dd.append(make("small", small));
    made.append(make("dt", name), dd);
    return made;
  }));
}

function entering(now, levels) {
  if (!now) return "not known";
  if (!known(levels.entry_bps)) return known(levels.reverse_entry_bps) ? `reverse enters at ${number(levels.reverse_entry_bps)}` : "no entry level";
  const away = levels.entry_bps - now.edge_bps;
  const held = now.may_enter ? "" : "; entries are held back";
  return `enters at ${number(levels.entry_bps)}, ${away > 0 ? `${number(away)} away` : "reached"}${held}`;
}

function leaving(now, levels) {
  if (!now) return "not known";
  if (!known(levels.exit_bps)) return known(levels.reverse_exit_bps) ? `reverse leaves at ${number(levels.reverse_exit_bps)}` : "no exit level";
  const away = now.cost_bps - levels.exit_bps;
  return `leaves at ${number(levels.exit_bps)}, ${away > 0 ? `${number(away)} away` : "reached"}`;
}

function caption(now) {
  const signal = "bps; solid: edge to open (blue), cost to close (orange); dashed: entry, exit; rings: orders";
  return now ? signal : `${signal}. From the journal's decisions; between two of them a straight line, not quotes.`;
}

function books(table, now) {
  const rows = (now?.books ?? []).map((book, n) => [
    `${book.leg} ${now.venues?.[n] ?? ""}`, plain(book.bid), plain(book.ask), plain(book.bid_qty), plain(book.ask_qty),
    { text: known(book.age_s) ? span(book.age_s) : "not trusted", className: !known(book.age_s) || book.age_s > now.max_quote_age_s ? "bad" : "" },
  ]);
  fill(table, ["", "bid", "ask", "bid size", "ask size", "age"], rows);
}

function attribution(table, one) {
  const open = one.now?.open_parts ?? {}, parts = ["spot", "perp", "fees", "funding", "residual", "net"];
  const rows = parts.map(part => [
    part, money(part === "net" ? (one.now ? one.now.open_usdt : null) : open[part]), money(one.money_day?.[part]), money(one.money_run?.[part]),
  ]);
  fill(table, ["", "open pair", "day", "run"], rows);
}

function guards(table, now) {
  const rows = (now?.guards ?? []).map(guard => {
    const room = known(guard.value) ? (guard.above ? guard.limit - guard.value : guard.value - guard.limit) : null;
    const near = known(room) && room < 0.2 * Math.abs(guard.limit);
    return [guard.guard, rounded(guard.value), rounded(guard.limit), { text: rounded(room), className: near ? "bad" : "" }, left(guard.unit)];
  });
  fill(table, ["", "is", "limit", "left", ""], rows);
}

const left_ = left;

function parameters(at, one) {
  const said = one.now?.parameters, entries = [], seconds = Date.now() / 1e3;
  if (said?.says) {
    entries.push(["in force", said.says], ["age", `${span(seconds - said.created)}, ${said.valid_until > seconds ? "runs out in" : "ran out"} ${span(Math.abs(said.valid_until - seconds))}${said.valid_until > seconds ? "" : " ago"}`]);
    entries.push(["clip", `${number(said.clip_usdt)} USDT; ${said.chosen}; ${said.sha256.slice(0, 12)}`]);
  }
  if (said?.refused) entries.push(["refused", said.refused]);
  if (!said && one.parameters) entries.push(["last read", `${one.parameters.read_at.slice(0, 19).replace("T", " ")} UTC: ${one.parameters.verdict}`]);
  if (one.run) entries.push(["run", `${one.run.run_id}, started ${one.run.started.slice(0, 19).replace("T", " ")} UTC`]);
  at.replaceChildren(...entries.flatMap(([name, value]) => [make("dt", name), make("dd", value, name === "refused" ? "bad" : "")]));
}

function recent(at, one) {
  const ended = order => order.ended_ns === null ? "at work" : order.refused ? `refused: ${order.refused}` : order.filled === 0 ? "not filled" : "filled";
  fill(at.querySelector(".orders"), ["time", left("leg"), "pair", "wanted", "limit", "filled", "price", "fee", left("how it ended")],
    (one.orders ?? []).map(o => [clock(o.ts_ns), left(`${o.leg}${o.reduce_only ? " (reduce)" : ""}`), o.pair, plain(o.qty), plain(o.limit), plain(o.filled), o.filled ? plain(o.price) : "\u2013", number(o.fee_usdt, 4), long(ended(o), o.refused ? "bad" : "")]));
  fill(at.querySelector(".pairs"), ["closed", "pair", "held", "notional", "spot", "perp", "fees", "funding", "net", left("why")],
    (one.pairs ?? []).map(p => [moment(p.closed_ns), p.pair, span((p.closed_ns - p.opened_ns) / 1e9), number(p.notional_usdt), money(p.spot), money(p.perp), money(p.fees), money(p.funding), money(p.net), left(p.reason)]));
  fill(at.querySelector(".notes"), ["time", left("kind"), left("what")],
    (one.notes ?? []).map(n => [n.at.slice(5, 19).replace("T", " "), left(n.kind), long(n.text)]));
}

// Orders of a person

function ask(order, id) {
  const dialog = byId("confirm"), form = dialog.querySelector("form");
  dialog.querySelector("h3").textContent = `${order} ${id}`;
  dialog.querySelector(".what").textContent = ORDERS[order];
  dialog.querySelector(".type").textContent = `Type: ${order} ${id}`;
  form.elements.confirmation.value = "";
  form.dataset.order = order;
  form.dataset.runner = id;
  dialog.querySelector(".answer").textContent = "";
  dialog.showModal();
}

async function send(event) {
  event.preventDefault();
  const form = event.currentTarget, field = name => form.elements[name].value;
  const said = { order: form.dataset.order, runner: form.dataset.runner, by: field("by"), why: field("why"), confirmation: field("confirmation") };
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${field("token")}` };
  const answer = form.querySelector(".answer");
  try {
    const response = await fetch("/orders", { method: "POST", headers, body: JSON.stringify(said) });
    const told = await response.json();
    answer.textContent = told.done ?? told.error;
    answer.className = `answer ${told.done ? "good" : "bad"}`;
  } catch (error) {
    answer.textContent = `The monitor does not answer (${error.message}); use the terminal.`;
  }
}

// The events

function state(said) {
  heard = Date.now();
  byId("reports").textContent = said.reports;
  byId("none").hidden = said.runners.length > 0;
  for (const one of said.runners) show(one, said.orders);
  const wanted = said.runners.map(one => card(one.id)), main = byId("runners");
  if (wanted.length !== main.children.length || wanted.some((each, n) => main.children[n] !== each)) main.replaceChildren(...wanted);
  document.documentElement.dataset.shown = said.runners.length;
}

function points(said) {
  const had = said.fresh ? [] : charts.get(said.id) ?? [];
  charts.set(said.id, [...had, ...said.points].slice(-POINTS));
}

function listen() {
  const events = new EventSource("/events");
  events.addEventListener("state", event => state(JSON.parse(event.data)));
  events.addEventListener("points", event => points(JSON.parse(event.data)));
}

setInterval(() => {
  const link = byId("link"), fine = Date.now() - heard < SILENT_MS;
  link.textContent = fine ? `${new Date().toISOString().slice(11, 19)} UTC` : heard ? `no news for ${span((Date.now() - heard) / 1e3)}: what is below is old` : "connecting";
  link.className = fine ? "good" : "bad";
}, 500);
document.querySelector("#confirm form").addEventListener("submit", send);
document.querySelector("#confirm .cancel").addEventListener("click", () => byId("confirm").close());
listen();
