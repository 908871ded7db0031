// The live page. Everything it shows comes from /events: `hello` when a connection begins, with the charts
// until then, and a `snapshot` each second. Texts become text nodes only, never markup.

const POINTS = 300;
const SHORTEST = 60;
const SILENCE_MS = 6000;
const AGAIN_MS = 2000;

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

let source = null;
let again = null;
let lastHeard = 0;
let lostSince = null;
let hello = null;
let history = [];
let told = { ready: null, broken: 0, instance: null };

function setText(element, text) {
  const value = String(text);
  if (element.textContent !== value) element.textContent = value;
}

// A figure with the exact value beside the readable one, for tests and for tooltips.
function figure(id, text, value) {
  const element = $(id);
  setText(element, text);
  element.dataset.value = value === null || value === undefined ? "" : String(value);
}

function setClass(element, name) {
  if (element.className !== name) element.className = name;
}

// Only what changes is said aloud.
function say(text) {
  setText($("news"), text);
}

function count(value) {
  if (value === null || value === undefined) return "unknown";
  return Math.abs(value) < 1e6 ? whole.format(value) : short.format(value);
}

function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  let left = value;
  while (left >= 1024 && unit < units.length - 1) {
    left /= 1024;
    unit += 1;
  }
  return (unit === 0 ? whole.format(left) : left.toFixed(left < 10 ? 1 : 0)) + " " + units[unit];
}

function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 10) return value.toFixed(1) + " s";
  if (value < 120) return Math.round(value) + " s";
  if (value < 7200) return Math.round(value / 60) + " min";
  if (value < 172800) return Math.round(value / 3600) + " h";
  return Math.round(value / 86400) + " d";
}

function millis(value) {
  return value < 10 ? value.toFixed(1) : whole.format(Math.round(value));
}

// RFC 3339 in UTC without the parts that nobody reads.
function moment(ms) {
  return new Date(ms).toISOString().slice(0, 19).replace("T", " ") + "Z";
}

function clock(ms) {
  return new Date(ms).toISOString().slice(11, 19) + "Z";
}

// Rows of cells: { text, n, head, kind, value }. Cells that are there are used again, so that nothing that is
// selected or focused goes away.
function fill(id, rows, empty) {
  const body = $(id);
  const wanted = rows.length > 0 ? rows : [[{ text: empty || "none", span: true, kind: "faint" }]];
  while (body.rows.length > wanted.length) body.deleteRow(-1);
  wanted.forEach((cells, at) => {
    let row = body.rows[at] || body.insertRow(-1);
    const shape = cells.map((cell) => (cell.head ? "h" : "d")).join("") + (cells[0].span ? "s" : "");
    if (row.dataset.shape !== shape) {
      row.replaceChildren();
      row.dataset.shape = shape;
      for (const cell of cells) {
        const element = document.createElement(cell.head ? "th" : "td");
        if (cell.head) element.scope = "row";
        if (cell.span) element.colSpan = 20;
        row.appendChild(element);
      }
    }
    cells.forEach((cell, column) => {
      const element = row.cells[column];
      setText(element, cell.text);
      setClass(element, [cell.n ? "n" : "", cell.kind || ""].join(" ").trim());
      if (cell.value !== undefined && cell.value !== null) element.dataset.value = String(cell.value);
    });
    row.dataset.key = cells[0].text;
  });
}

const name = (text) => ({ text, head: true });
const number = (value) => ({ text: count(value), n: true, value });

function shape(kind, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

// A line over the last minutes, one unit per second, the newest at the right. Gaps stay gaps.
function chart(id, index, describe, bound) {
  const svg = $(id);
  const height = 100;
  const values = history.map((point) => point[index]);
  const known = values.filter((value) => value !== null);
  const most = Math.max(1, bound || 0, ...known);
  const wide = Math.max(SHORTEST, values.length);
  svg.setAttribute("viewBox", `0 0 ${wide - 1} ${height}`);
  const runs = [];
  values.forEach((value, at) => {
    if (value === null) return;
    const point = [wide - values.length + at, height - 2 - (value / most) * (height - 6)];
    const last = runs[runs.length - 1];
    if (last && last[last.length - 1][0] === point[0] - 1) last.push(point);
    else runs.push([point]);
  });
  const parts = [shape("line", { class: "base", x1: 0, x2: wide - 1, y1: height - 1, y2: height - 1 })];
  for (const run of runs) {
    const path = run.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
    const end = run[run.length - 1][0];
    parts.push(shape("path", { class: "area", d: `M${run[0][0]} ${height}L${path}L${end} ${height}Z` }));
    parts.push(shape("path", { class: "line", d: `M${path}` }));
  }
  svg.replaceChildren(...parts);
  const now = known.length > 0 ? known[known.length - 1] : null;
  svg.setAttribute("aria-label", `${describe}: now ${count(now)}, at most ${count(known.length ? Math.max(...known) : null)} in the last minutes`);
}

// One column a flush, its steps from the bottom.
function columns(flushes) {
  const svg = $("c-flushes");
  const slots = 40;
  const most = Math.max(1, ...flushes.map((flush) => flush.total));
  svg.setAttribute("viewBox", `0 0 ${slots} 100`);
  const parts = [];
  flushes.forEach((flush, at) => {
    const column = shape("g", {});
    const title = shape("title", {});
    title.textContent = `${flush.pipeline}, ${clock(flush.start)}: encode ${millis(flush.encode)} ms, commit ${millis(flush.commit)} ms, receipt ${millis(flush.receipt)} ms, total ${millis(flush.total)} ms`;
    column.appendChild(title);
    let top = 100;
    const steps = [["encode", flush.encode], ["commit", flush.commit], ["receipt", flush.receipt]];
    const sum = steps.reduce((all, [, time]) => all + time, 0);
    steps.push(["other", Math.max(0, flush.total - sum)]);
    for (const [step, time] of steps) {
      const height = (time / most) * 98;
      top -= height;
      column.appendChild(shape("rect", { class: "k-" + step, x: slots - flushes.length + at + 0.12, y: top.toFixed(2), width: 0.76, height: height.toFixed(2) }));
    }
    parts.push(column);
  });
  svg.replaceChildren(...parts);
  const last = flushes[flushes.length - 1];
  svg.setAttribute("aria-label", last ? `Duration of the last ${flushes.length} flushes: the last one ${millis(last.total)} ms, the longest ${millis(most)} ms` : "No flush yet");
  setText($("v-flushes"), last ? `The last ${flushes.length} of ${whole.format(last.number)} flushes; the highest column is ${millis(most)} ms.` : "No flush yet.");
}

function showState(snapshot) {
  const broken = snapshot.invariants.reduce((sum, each) => sum + each.violations, 0) + snapshot.permits_refused;
  const state = $("state");
  if (broken > 0) {
    setText(state, "invariant broken");
    setClass(state, "state bad");
  } else {
    setText(state, snapshot.ready ? "ready" : "not ready");
    setClass(state, snapshot.ready ? "state good" : "state bad");
  }
  if (told.ready !== snapshot.ready) say(snapshot.ready ? "Situs is ready." : "Situs is not ready.");
  if (broken > told.broken) say("An invariant was found broken.");
  told.ready = snapshot.ready;
  told.broken = broken;
  $("problems").hidden = snapshot.not_ready.length === 0;
  fill("t-problems", snapshot.not_ready.map((problem) => [name(problem.part), { text: problem.since }, { text: problem.why }]));
}

function showFigures(snapshot) {
  figure("v-rate", count(snapshot.rates.messages), snapshot.rates.messages);
  figure("v-bytes", (snapshot.rates.bytes / 1e6).toFixed(1) + " MB/s", snapshot.rates.bytes);
  figure("v-rows", count(snapshot.rates.rows), snapshot.rates.rows);
  figure("v-lag", count(snapshot.lag.messages), snapshot.lag.messages);
  figure("v-age", seconds(snapshot.lag.seconds), snapshot.lag.seconds);
  figure("v-buffered", bytes(snapshot.memory.buffered), snapshot.memory.buffered);
  figure("v-limit", bytes(snapshot.memory.limit), snapshot.memory.limit);
  setText($("v-paused"), snapshot.memory.paused ? "reading is paused" : "reading");
  const fast = snapshot.paths.fast || 0;
  const all = fast + (snapshot.paths.general || 0);
  figure("v-fast", all > 0 ? ((100 * fast) / all).toFixed(1) + " %" : "–", all > 0 ? fast / all : null);
  figure("v-fast-rows", count(fast), fast);
  figure("v-all-rows", count(all), all);
  chart("c-rate", 1, "Messages per second", 0);
  chart("c-lag", 4, "Lag in messages", 0);
  chart("c-buffered", 6, "Buffered bytes", snapshot.memory.limit);
  const bar = $("c-fast");
  bar.setAttribute("viewBox", "0 0 100 1");
  bar.replaceChildren(shape("rect", { x: 0, y: 0, height: 1, width: all > 0 ? (100 * fast) / all : 0 }));
  bar.setAttribute("aria-label", "Share of the fast path: " + $("v-fast").textContent);
}

function showInvariants(snapshot) {
  const list = $("l-invariants");
  const lights = snapshot.invariants.map(({ invariant, violations }) =>
    [invariant, violations, `${invariant}: ${whole.format(violations)}`]);
  const refused = snapshot.permits_refused;
  lights.push(["permits", refused, `permits refused: ${whole.format(refused)}`]);
  while (list.children.length > lights.length) list.lastChild.remove();
  lights.forEach(([invariant, violations, text], at) => {
    const light = list.children[at] || list.appendChild(document.createElement("li"));
    setText(light, (violations === 0 ? "✓ " : "✗ ") + text);
    setClass(light, violations === 0 ? "good" : "bad");
    light.dataset.key = invariant;
    light.dataset.value = String(violations);
  });
}

function showTables(snapshot) {
  const now = snapshot.at;
  fill("t-zones", snapshot.zones.map((zone) => [name(zone.zone), number(zone.rows), number(zone.messages)]));
  const reasons = Object.entries(snapshot.quarantine).filter(([, messages]) => messages > 0);
  reasons.sort((a, b) => b[1] - a[1]);
  fill("t-quarantine", reasons.map(([reason, messages]) => [name(reason), number(messages)]), "nothing in quarantine since the start");
  fill("t-pipelines", snapshot.pipelines.map((each) => {
    const through = each.valid_through;
    return [
      name(each.pipeline), number(each.messages), number(each.rows), number(each.quarantined),
      { text: through ? moment(through * 1000) : "nothing settled yet" },
      { text: through ? seconds(Math.max(0, now / 1000 - through)) : "–", n: true },
    ];
  }));
  columns(snapshot.flushes);
  const newest = snapshot.flushes.slice(-8).reverse();
  fill("t-flushes", newest.map((flush) => [
    { text: clock(flush.start) }, { text: flush.pipeline }, number(flush.messages),
    ...["encode", "commit", "receipt", "total"].map((step) => ({ text: millis(flush[step]), n: true })),
  ]), "no flush yet");
  const of = snapshot.partitions;
  const more = of.more > 0 ? ` The ${of.shown.length} that matter most are shown.` : "";
  setText($("v-partitions"), `${count(of.owned)} owned by this process, ${count(of.waiting)} waiting, ${count(of.refused)} refused.${more}`);
  const kinds = { owned: "good", waiting: "warn", refused: "bad" };
  fill("t-partitions", of.shown.map((each) => [
    name(each.topic), { text: each.partition, n: true }, { text: each.stands, kind: kinds[each.stands] },
    { text: each.lag === null ? "unknown" : count(each.lag), n: true, value: each.lag },
    { text: seconds(each.seconds), n: true },
    { text: each.settled === null ? "–" : whole.format(each.settled), n: true, value: each.settled },
  ]), "none assigned");
  fill("t-stores", snapshot.stores.map((store) => {
    const sum = (key) => store.tables.reduce((all, table) => all + (table[key] || 0), 0);
    return [
      name(store.zone), { text: store.writable ? "yes" : "no", kind: store.writable ? "good" : "bad" },
      { text: bytes(store.free), n: true, value: store.free }, { text: bytes(store.size), n: true, value: store.size },
      number(store.tables.length), number(sum("files")), { text: bytes(sum("bytes")), n: true, value: sum("bytes") },
      { text: store.id, kind: "id" },
    ];
  }));
  const brokers = snapshot.kafka.brokers;
  const round = (value) => ({ text: value === null ? "–" : millis(value * 1000) + " ms", n: true });
  fill("t-brokers", brokers.map((each) => [
    { text: each.broker, n: true, head: true }, { text: each.up ? "connected" : "not connected", kind: each.up ? "good" : "warn" },
    round(each.rtt), round(each.rtt_p99),
  ]), "no broker seen yet");
  setText($("v-kafka"), `Group ${hello.group}; ${count(snapshot.kafka.fetched_messages)} messages fetched ahead (${bytes(snapshot.kafka.fetched_bytes)}).`);
}

function showPolicy(snapshot) {
  const policy = snapshot.policy;
  const facts = [["in force", policy.version]];
  facts.push(["new policy", policy.rejected ? "rejected for its errors; see the log" : policy.waiting ? "read, waits for everything before it to settle" : "none"]);
  facts.push(["next end", policy.expiry === null ? "nothing in it ends" : moment(policy.expiry * 1000)]);
  if (policy.shadow === null) {
    facts.push(["second policy", "none is compared"]);
  } else {
    const of = (kind) => policy.shadow.records[kind] || 0;
    facts.push(["second policy", policy.shadow.version]);
    facts.push(["would move", `${count(of("moved"))} records`]);
    facts.push(["other tags", `${count(of("other-tags"))} records`]);
    facts.push(["equal", `${count(of("equal"))} records`]);
    facts.push(["not judged", `${count(of("not-judged"))} records`]);
  }
  const list = $("l-policy");
  while (list.children.length > facts.length * 2) list.lastChild.remove();
  facts.forEach(([key, value], at) => {
    const term = list.children[at * 2] || list.appendChild(document.createElement("dt"));
    const fact = list.children[at * 2 + 1] || list.appendChild(document.createElement("dd"));
    setText(term, key);
    setText(fact, value);
  });
}

function show(snapshot) {
  setText($("build"), `version ${hello.version}, configuration ${hello.config}, up ${seconds(snapshot.uptime)}, as of ${moment(snapshot.at)}`);
  showState(snapshot);
  showFigures(snapshot);
  showInvariants(snapshot);
  showTables(snapshot);
  showPolicy(snapshot);
}

function heard() {
  lastHeard = Date.now();
  if (lostSince === null) return;
  lostSince = null;
  $("lost").hidden = true;
  document.body.dataset.connected = "yes";
  say("Connected again.");
}

function lost() {
  if (lostSince !== null) return;
  lostSince = lastHeard || Date.now();
  setText($("lost"), `Connection lost since ${moment(lostSince)}. What is shown is from before; trying again.`);
  $("lost").hidden = false;
  setText($("state"), "no connection");
  setClass($("state"), "state unknown");
  document.body.dataset.connected = "no";
  told.ready = null;
  say("The connection to Situs is lost.");
}

function connect() {
  clearTimeout(again);
  again = null;
  if (source !== null) source.close();
  const mine = new EventSource("events");
  source = mine;
  lastHeard = lastHeard || Date.now();
  mine.addEventListener("hello", (event) => {
    // Another process may answer now: nothing of the one before counts.
    hello = JSON.parse(event.data);
    history = hello.history.slice(-POINTS);
    if (told.instance !== null && told.instance !== hello.instance) say("Situs was started anew.");
    told = { ready: told.ready, broken: 0, instance: hello.instance };
    document.body.dataset.instance = hello.instance;
    setText($("home"), `· ${hello.site} (${hello.zone})`);
    document.title = `Situs · ${hello.site}`;
  });
  mine.addEventListener("snapshot", (event) => {
    const snapshot = JSON.parse(event.data);
    heard();
    const last = history[history.length - 1];
    if (!last || last[0] < snapshot.at) {
      const { rates, lag, memory } = snapshot;
      history.push([snapshot.at, rates.messages, rates.bytes, rates.rows, lag.messages, lag.seconds, memory.buffered]);
      if (history.length > POINTS) history.shift();
    }
    document.body.dataset.connected = "yes";
    document.body.dataset.at = String(snapshot.at);
    show(snapshot);
  });
  mine.onerror = () => {
    lost();
    // After an answer that is no stream the browser gives up by itself.
    if (mine.readyState === EventSource.CLOSED && again === null) again = setTimeout(connect, AGAIN_MS);
  };
}

// A connection can die without a word.
setInterval(() => {
  if (Date.now() - lastHeard > SILENCE_MS && again === null) {
    lost();
    if (Date.now() - lastTried > SILENCE_MS) {
      lastTried = Date.now();
      connect();
    }
  }
}, 1000);

let lastTried = Date.now();
connect();
