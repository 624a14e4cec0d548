"use strict";

// The page of `linemill dev`. All text is put in as text, never as markup: lines are hostile.

// Rows that are shown at first, and that are added.
const STEP = 200;
const FEW = 20;
const number = new Intl.NumberFormat("en");
const $ = (id) => document.getElementById(id);

let state = null;
let drawn = "";
let shown = STEP;
let shownChanges = FEW;
let fetching = false;
let again = false;

/** An element: attributes and properties, then children (elements or text). */
function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const count = (n) => number.format(n);
const many = (n, one, more) => `${count(n)} ${n === 1 ? one : more}`;
const short = (digest) => digest.replace("sha256:", "").slice(0, 12);
const round = (x) => (x >= 100 ? count(Math.round(x)) : x.toPrecision(x >= 10 ? 3 : 2));

function bytes(n) {
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (n < 1024 || unit === "GiB") return `${unit === "B" ? n : n.toFixed(n < 10 ? 1 : 0)} ${unit}`;
    n /= 1024;
  }
}

function time(us) {
  if (us < 1000) return `${round(us)} µs`;
  if (us < 1e6) return `${round(us / 1000)} ms`;
  return `${round(us / 1e6)} s`;
}

function change(before, now) {
  if (!before || before === now) return before === now ? "as before" : "";
  const percent = ((now - before) / before) * 100;
  const text = Math.abs(percent) < 0.05 ? "<0.1" : Math.abs(percent).toFixed(Math.abs(percent) < 10 ? 1 : 0);
  return `${now > before ? "+" : "−"}${text} %`;
}

// What goes on: read again whenever the server says that something has changed.

async function refresh() {
  if (fetching) { again = true; return; }
  fetching = true;
  do {
    again = false;
    try {
      const answer = await fetch("/state", { cache: "no-store" });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      state = await answer.json();
      draw();
    } catch (error) {
      away();
    }
  } while (again);
  fetching = false;
}

function listen() {
  const changes = new EventSource("/changes");
  changes.onmessage = refresh;
  changes.onerror = () => {
    away();
    // The browser tries again by itself, unless it was turned away.
    if (changes.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  };
}

function away() {
  show("away", state && state.run ? "Not connected; the last run is shown" : "Not connected");
}

function show(name, text) {
  const line = $("state");
  line.className = `state ${name}`;
  if (line.textContent !== text) line.textContent = text;
}

function draw() {
  const run = state.run;
  const plugin = state.about.plugin || "";
  $("plugin").textContent = plugin.split("/").pop();
  $("plugin").title = plugin;
  $("source").textContent = state.about.source;
  const broken = state.state === "broken";
  $("trouble").hidden = !broken;
  if (broken) {
    $("trouble-title").textContent = "No run is possible now";
    $("trouble-text").textContent = state.error;
    $("trouble-kept").textContent = run
      ? `Below is run ${run.number}, the last good one. The next change is tried at once.`
      : "As soon as that changes, it is tried again.";
  }
  $("run").hidden = !run;
  const key = run ? `${state.version.split("-").slice(0, 5).join("-")} ${run.number}` : "";
  if (run && key !== drawn) {
    drawn = key;
    drawRun(run);
  }
  document.title = `${broken ? "✕ " : ""}${$("plugin").textContent} – linemill dev`;
  if (broken) show("broken", run ? `Broken; run ${run.number} is shown` : "Broken");
  else if (state.state === "running") show("running", "Running");
  else if (run) show("ready", `Run ${run.number}, ${new Date(run.at).toLocaleTimeString()}`);
}

function drawRun(run) {
  drawFigures(run);
  drawDifference(run);
  drawHistogram(run);
  drawLines();
  drawOutputs(run);
  drawFaults(run);
  drawMetrics(run.report.Metrics);
  drawLogs(run.logs);
}

function drawFigures(run) {
  const report = run.report;
  const difference = run.difference && run.difference.same_sample ? run.difference : null;
  const faults = report.Loaded - report.Processed;
  const kinds = [["CorruptionErrors", "corrupt"], ["RetryErrors", "to retry"], ["Failed", "failed"]]
    .filter(([name]) => report[name] > 0).map(([name, kind]) => `${count(report[name])} ${kind}`).join(", ");
  const figures = [
    ["Lines", count(report.Loaded), bytes(run.sample.bytes)],
    ["Processed", count(report.Processed), difference && difference.processed !== report.Processed ? `${count(difference.processed)} before` : ""],
    ["Not processed", count(faults), kinds, faults > 0],
    ["Fuel a line", count(run.fuel.p50), difference ? change(difference.of.fuel_before, difference.of.fuel_now) : "median"],
    ["Time a line", time(run.nanos.p50 / 1000), "median"],
    ["Whole request", time(run.request_ms * 1000), run.plugin.cached ? "compiled before" : `compiled in ${time(run.plugin.compile_ms * 1000)}`],
  ];
  $("figures").replaceChildren(...figures.map(([name, value, small, look]) =>
    el("div", { class: look ? "look" : null }, el("dt", {}, name), el("dd", {}, value, el("small", {}, small || " ")))));
  $("summary-title").replaceChildren(`Run ${run.number} `, el("span", { class: "quiet" }, report.Status));
  const version = run.plugin.version ? `version ${run.plugin.version}, ` : "";
  const cut = run.sample.cut ? ` The source goes on: only its first ${count(run.sample.lines)} lines are run (--lines, --bytes).` : "";
  $("notes").replaceChildren(`${run.plugin.name}, ${version}${bytes(run.plugin.bytes)}, sha256 `,
    el("code", { title: run.plugin.digest }, short(run.plugin.digest)), `.${cut}`);
  // What is wrong with single lines is said of them below.
  const errors = (/error|stopped/.test(report.Status) ? report.Errors : []).slice(0, 5)
    .map((error) => `${error.Error}${error.Count > 1 ? ` (${count(error.Count)} times)` : ""}`);
  if (report.Unread !== 0) errors.push(report.Unread === null ? "The rest was not read." : `${many(report.Unread, "line was", "lines were")} not read.`);
  if (run.lines_error) errors.push(run.lines_error);
  $("errors").replaceChildren(...errors.map((error) => el("li", {}, error)));
}

function drawDifference(run) {
  const difference = run.difference;
  $("difference").hidden = !difference;
  if (!difference) return;
  const of = difference.of;
  $("difference-title").replaceChildren("Difference ", el("span", { class: "quiet" }, `to run ${difference.number}`));
  const facts = [];
  if (difference.digest === run.plugin.digest) facts.push(["The component is the same, sha256 ", el("code", {}, short(run.plugin.digest))]);
  else facts.push(["Component ", el("code", { title: difference.digest }, short(difference.digest)), " → ", el("code", { title: run.plugin.digest }, short(run.plugin.digest))]);
  facts.push([of.changed ? el("strong", {}, many(of.changed, "line does", "lines do") + " something else") : "No line does anything else",
    ` (of ${count(of.compared)} compared)`]);
  if (of.new) facts.push([`${many(of.new, "line of the sample is new", "lines of the sample are new")}`]);
  const fuel = of.fuel_before === of.fuel_now ? "the same" : `${count(of.fuel_before)} → ${count(of.fuel_now)} (${change(of.fuel_before, of.fuel_now)})`;
  facts.push([`Fuel of the lines: ${fuel}; more for ${count(of.fuel_more)}, less for ${count(of.fuel_less)}`]);
  for (const route of difference.routes) {
    const size = (n) => (n === null ? "nothing" : bytes(n));
    facts.push([`Output${route.route ? ` for ${route.route}` : ""}: ${size(route.before)} → ${size(route.now)}`]);
  }
  if (difference.status !== run.report.Status) facts.push([`Status: ${difference.status} → ${run.report.Status}`]);
  $("difference-facts").replaceChildren(...facts.map((fact) => el("li", {}, fact)));
  shownChanges = FEW;
  drawChanges(of);
}

function drawChanges(of) {
  const rows = of.lines.slice(0, shownChanges).map((line) => el("tr", {},
    cell("n", count(line.number)), cell("in wide data", line.text),
    did("wide data", "before: ", line.before), did("wide data", "now: ", line.now)));
  const all = rows.length === of.changed;
  const note = all ? "Lines that do something else" : `The first ${count(rows.length)} of ${count(of.changed)} lines that do something else`;
  const more = el("button", { type: "button" }, "Show more");
  more.addEventListener("click", () => { shownChanges += STEP; drawChanges(of); });
  $("difference-lines").replaceChildren(...(rows.length ? [table("even", note, [["n", "Line"], ["", "In"], ["", "Before"], ["", "Now"]], rows)] : []),
    ...(rows.length < of.lines.length ? [more] : []));
}

function did(name, when, done) {
  // On a phone there are no columns to tell which is which.
  const label = el("span", { class: "when" }, when);
  return done.kind === "processed"
    ? cell(name, label, done.text || "(no output)")
    : cell(`${name} look`, label, `${done.kind}: ${done.text}`);
}

function drawHistogram(run) {
  const bars = run.histogram;
  if (!bars.length) {
    $("histogram").replaceChildren(el("p", { class: "notes" }, "No line was run by itself."));
    $("quantiles").replaceChildren();
    return;
  }
  const most = Math.max(...bars.map((bar) => bar.count));
  const svg = (tag, attributes, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const height = 100, width = 100 / Math.max(bars.length, 6);
  const drawing = svg("svg", { viewBox: `0 0 100 ${height}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `How many lines use how much fuel: median ${count(run.fuel.p50)}, from ${count(run.fuel.min)} to ${count(run.fuel.max)}; the table below has the figures` });
  bars.forEach((bar, at) => {
    // What is there is seen, however little it is.
    const tall = bar.count === 0 ? 0 : Math.max(1.5, (bar.count / most) * height);
    const range = bar.to === null ? `${count(bar.from)} and more` : `${count(bar.from)} to ${count(bar.to - 1)}`;
    drawing.append(svg("rect", { x: at * width + 0.15, width: width - 0.3, y: height - tall, height: tall, class: bar.to === null ? "far" : "" },
      svg("title", {}, `${range} fuel: ${many(bar.count, "line", "lines")}`)));
  });
  drawing.append(svg("line", { x1: 0, x2: 100, y1: height, y2: height, "vector-effect": "non-scaling-stroke" }));
  const last = bars[bars.length - 1];
  const far = last.to === null ? `${many(last.count, "line", "lines")} with ${count(last.from)} and more` : count(last.to - 1);
  $("histogram").replaceChildren(drawing, el("p", { class: "scale" },
    el("span", {}, count(bars[0].from)), el("span", { class: last.to === null ? "look" : null }, far)));
  const columns = [["p50", "median"], ["p95", "p95"], ["p99", "p99"], ["max", "most"]];
  const row = (name, values, format) => el("tr", {}, el("th", { scope: "row" }, name),
    ...columns.map(([key]) => cell("amount", format(values[key]))));
  $("quantiles").replaceChildren(table("quantiles", `Of ${many(run.lines_all, "line", "lines")}, each in a call of its own`,
    [["", "A line uses"], ...columns.map(([, name]) => ["amount", name])],
    [row("fuel", run.fuel, count), row("time", run.nanos, (n) => time(n / 1000))]));
}

// Lines, by the filter.

const filters = {
  all: (lines) => lines,
  faulted: (lines) => lines.filter((line) => line.kind !== "processed"),
  changed: (lines) => lines.filter((line) => line.changed),
  costly: (lines) => [...lines].sort((one, two) => two.fuel - one.fuel || one.n - two.n),
};

function drawLines() {
  const run = state.run;
  const chosen = document.querySelector("input[name=filter]:checked").value;
  const missing = run.lines_all - run.lines.length;
  const part = missing > 0 ? " shown" : "";
  for (const name of ["all", "faulted", "changed"]) $(`count-${name}`).textContent = count(filters[name](run.lines).length) + part;
  const lines = filters[chosen](run.lines);
  const rows = lines.slice(0, shown).map((line) => el("tr", { class: line.changed ? "changed" : null },
    cell("n", count(line.n)), cell("in data", line.in), came(line), cell("amount", count(line.fuel))));
  $("lines-table").replaceChildren(rows.length
    ? table("even", null, [["n", "Line"], ["", "In"], ["", "Out"], ["amount", "Fuel"]], rows, "Lines: what came in, what came of it, and the fuel that it used")
    : el("p", { class: "notes" }, "None."));
  const notes = [];
  if (rows.length < lines.length) notes.push(`${count(rows.length)} of ${count(lines.length)} are shown.`);
  if (missing > 0) notes.push(`${many(missing, "further line is", "further lines are")} left out here: behind the first ones, only some that were not processed, did something else or cost most are kept.`);
  if (run.lines_all) notes.push("Each line was run in a call of its own; the figures above and the faults below are of the request as a whole.");
  $("lines-note").textContent = notes.join(" ");
  $("lines-more").hidden = rows.length >= lines.length;
}

function came(line) {
  if (line.kind !== "processed") return cell("wide data look", `${line.kind}: ${line.why}`);
  if (!line.out.length) return cell("wide data quiet", "(no output)");
  const outputs = line.out.flatMap(([route, text], at) => [at ? el("br") : null, route ? el("span", { class: "route" }, `${route}: `) : null, text]);
  const more = line.more ? [el("br"), el("span", { class: "route" }, `and ${many(line.more, "output", "outputs")} more`)] : [];
  return cell("wide data", ...outputs, ...more);
}

function drawOutputs(run) {
  const open = new Set([...document.querySelectorAll("#outputs details")].filter((one) => !one.open).map((one) => one.dataset.route));
  const routes = run.outputs.map((output) => el("details", { open: !open.has(output.route), "data-route": output.route },
    el("summary", {}, output.route || "destination", el("span", { class: "quiet" }, ` ${many(output.lines, "line", "lines")}, ${bytes(output.bytes)}`
      + (output.shown.length < output.lines ? `; the first ${count(output.shown.length)} are shown` : ""))),
    el("pre", { tabindex: "0" }, output.shown.join("\n"))));
  if (run.routes_left_out) routes.push(el("p", { class: "notes" }, `${many(run.routes_left_out, "route", "routes")} more`));
  $("outputs").replaceChildren(...(routes.length ? routes : [el("p", { class: "notes" }, "Nothing was emitted.")]));
}

function drawFaults(run) {
  const rows = run.faults.map((fault) => el("tr", {}, cell("n", count(fault.line)), cell("kind", fault.kind),
    cell("wide data look", fault.reason), cell("wide data", fault.text)));
  const note = run.faults.length < run.faults_all ? `The first ${count(run.faults.length)} of ${count(run.faults_all)}` : many(run.faults_all, "line", "lines");
  $("faults").replaceChildren(rows.length
    ? table("even", note, [["n", "Line"], ["kind", "Kind"], ["", "Reason"], ["", "What is kept of it"]], rows)
    : el("p", { class: "notes" }, "Every line was processed."));
}

function drawMetrics(metrics) {
  const rows = [];
  const add = (name, key, value) => {
    const amount = typeof value === "number" ? count(value)
      : `${many(value.Count, "sample", "samples")}, median ${plain(value.P50)}, p99 ${plain(value.P99)}, most ${plain(value.Max)}`;
    rows.push(el("tr", {}, cell("data", name), cell("data", key), cell("amount", amount)));
  };
  const plain = (value) => (value === null ? "–" : String(value));
  const isSeries = (value) => typeof value === "number" || (value !== null && "Count" in value && "P50" in value);
  for (const [name, value] of Object.entries(metrics)) {
    if (isSeries(value)) add(name, "", value);
    else for (const [key, one] of Object.entries(value)) add(name, key, one);
  }
  const cut = rows.slice(0, 500);
  $("metrics").replaceChildren(rows.length
    ? el("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "metrics-title" },
      table("", cut.length < rows.length ? `The first 500 of ${count(rows.length)}` : null, [["", "Name"], ["", "Key"], ["amount", "Value"]], cut, "The plugin's metrics"))
    : el("p", { class: "notes" }, "The plugin counted nothing."));
}

function drawLogs(logs) {
  const rows = logs.kept.map((log) => el("tr", {}, cell(log.level === "warn" || log.level === "error" ? "tight look" : "tight", log.level),
    cell("tight", log.stream), cell("data", log.message)));
  $("logs").replaceChildren(rows.length
    ? table("", logs.more ? `The first ${count(rows.length)}; ${many(logs.more, "event", "events")} more` : null, [["", "Level"], ["", "From"], ["", "Message"]], rows, "What the plugin logged")
    : el("p", { class: "notes" }, "The plugin said nothing."));
}

// Tables. Roles are named, since on a phone rows are laid out as blocks.

function table(name, caption, columns, rows, label) {
  return el("table", { class: name || null, role: "table", "aria-label": caption ? null : label },
    caption ? el("caption", {}, caption) : null,
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, columns.map(([kind, text]) => el("th", { scope: "col", role: "columnheader", class: kind || null }, text)))),
    el("tbody", { role: "rowgroup" }, rows.map((row) => { row.setAttribute("role", "row"); return row; })));
}

function cell(name, ...children) {
  return el("td", { class: name || null, role: "cell" }, ...children);
}

for (const input of document.querySelectorAll("input[name=filter]")) {
  input.addEventListener("change", () => { shown = STEP; drawLines(); });
}
$("lines-more").addEventListener("click", () => { shown += STEP; drawLines(); });
listen();
