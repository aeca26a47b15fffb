"use strict";
// Draws what /events tells: the seconds of a run as they end. No other request is ever made.
const KEEP = 3600;
const byId = (id) => document.getElementById(id);
const count = new Intl.NumberFormat("en");
const pulses = [];
let reading = null;
let stages = [];
let charts = [];
let state = "connecting";

function time(ns) {
  if (ns === null || ns === undefined) return "-";
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["us", 1e3]]) {
    if (ns >= size) {
      const value = ns / size;
      return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit}`;
    }
  }
  return `${Math.round(ns)} ns`;
}

function clock(ns) {
  const seconds = Math.max(0, Math.round(ns / 1e9));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  const two = (number) => String(number).padStart(2, "0");
  return minutes < 120 ? `${minutes}:${two(seconds % 60)} min` : `${Math.floor(minutes / 60)}:${two(minutes % 60)} h`;
}

const CHARTS = [
  { title: "Requests a second", number: (value) => count.format(value), series: [
    ["answered", "done", "--green"], ["achieved", "sent", "--blue"], ["offered", "due", "--amber", [6, 4]]] },
  { title: "Response time from the due time", number: time, log: true, series: [
    ["p50", "response_p50_ns", "--green"], ["p99", "response_p99_ns", "--violet"]] },
  { title: "Send lag: our own lateness", number: time, log: true, series: [
    ["p50", "lag_p50_ns", "--blue"], ["p99", "lag_p99_ns", "--amber"], ["max", "lag_max_ns", "--red"]] },
  { title: "Errors a second, and what waits for a response", number: (value) => count.format(value), series: [
    ["errors", "errors", "--red"], ["waiting", "waiting", "--soft"]] },
];

function columns(chart) {
  const seconds = pulses.map((pulse) => pulse.second + 1);
  const floor = chart.log ? (value) => (value === null ? null : Math.max(value, 1000)) : (value) => value;
  return [seconds, ...chart.series.map(([, key]) => pulses.map((pulse) => floor(pulse[key])))];
}

function stageLines(plot) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--soft");
  ctx.setLineDash([2, 4]);
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textBaseline = "top";
  ctx.textAlign = "left";
  const { min, max } = plot.scales.x;
  for (const stage of stages) {
    const start = stage.start_ns / 1e9;
    if (start < min || start > max) continue;
    const x = Math.round(plot.valToPos(start, "x", true));
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillText(stage.name, x + 4, bbox.top + 2);
  }
  ctx.restore();
}

function draw() {
  const place = byId("charts");
  place.replaceChildren();
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: color("--soft"), grid: { stroke: color("--grid"), width: 1 }, ticks: { stroke: color("--grid"), width: 1 } };
  charts = CHARTS.map((chart) => {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.textContent = chart.title;
    figure.append(caption);
    place.append(figure);
    const value = (_, raw) => (raw === null || raw === undefined ? "-" : chart.number(raw));
    const plot = new uPlot({
      width: figure.clientWidth - 26, height: 210, cursor: { sync: { key: "run" } },
      scales: { x: { time: false }, y: chart.log ? { distr: 3 } : { range: (_, low, high) => [0, Math.max(1, high) * 1.08] } },
      axes: [
        { ...axis, values: (_, splits) => splits.map((split) => `${split} s`) },
        { ...axis, size: 64, values: (_, splits) => splits.map((split) => (split === null ? "" : chart.number(split))) },
      ],
      series: [{ label: "second", value: (_, raw) => (raw === null || raw === undefined ? "-" : raw) },
        ...chart.series.map(([label, , name, dash]) => ({ label, value, stroke: color(name), width: 2, dash, points: { show: (plot) => plot.data[0].length < 3 } }))],
      hooks: { draw: [stageLines] },
    }, columns(chart), figure);
    plot.root.setAttribute("role", "img");
    return { chart, plot, figure };
  });
}

function say() {
  byId("state").textContent = { connecting: "connecting", waiting: "about to start", running: "running", ended: "ended", lost: "no word from the run" }[state];
  byId("state").className = state;
  if (reading === null) return;
  const left = reading.duration_ns - reading.now_ns;
  byId("progress").value = Math.min(1, Math.max(0, reading.now_ns / Math.max(1, reading.duration_ns)));
  byId("time").textContent = state === "ended" ? "Its results are where it was started."
    : left > 0 ? `${clock(reading.now_ns)} of ${clock(reading.duration_ns)}, ${clock(left)} left`
    : "all was due; waiting for responses";
  const share = reading.sent ? ` (${(100 * reading.errors / reading.sent).toFixed(1)} %)` : "";
  const last = pulses[pulses.length - 1];
  const tiles = [
    ["sent of " + count.format(reading.total), count.format(reading.sent)],
    ["offered/s", last ? count.format(last.due) : "-"],
    ["achieved/s", last ? count.format(last.sent) : "-"],
    ["response p50", time(reading.response_p50_ns)], ["response p99", time(reading.response_p99_ns)],
    ["send lag p99", time(reading.lag_p99_ns)],
    [`errors${share}`, count.format(reading.errors), reading.errors > 0],
    ["dropped", count.format(reading.dropped), reading.dropped > 0],
    ["waiting", last ? count.format(last.waiting) : "-"],
  ];
  byId("tiles").replaceChildren(...tiles.map(([name, value, bad]) => {
    const tile = document.createElement("div");
    tile.className = bad ? "bad" : "";
    const term = document.createElement("dt");
    const said = document.createElement("dd");
    term.textContent = name;
    said.textContent = value;
    tile.append(term, said);
    return tile;
  }));
  byId("stages").hidden = !reading.stages.length;
  byId("stages").querySelector("tbody").replaceChildren(...reading.stages.map((stage) => {
    const row = document.createElement("tr");
    row.className = state !== "ended" && stage.start_ns <= reading.now_ns && reading.now_ns < stage.stop_ns ? "now" : "";
    const cells = [`${stage.name} for ${clock(stage.stop_ns - stage.start_ns)}`, count.format(stage.sent),
      count.format(stage.total), count.format(stage.errors), time(stage.response_p50_ns), time(stage.response_p99_ns)];
    row.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
    return row;
  }));
}

function show() {
  say();
  for (const { chart, plot, figure } of charts) {
    plot.setData(columns(chart));
    const last = pulses[pulses.length - 1];
    const words = last ? chart.series.map(([label, key]) => `${label} ${last[key] === null ? "none" : chart.number(last[key])}`) : [];
    figure.querySelector(".uplot").setAttribute("aria-label", `${chart.title}, in the last second: ${words.join(", ")}`);
  }
}

addEventListener("DOMContentLoaded", () => {
  draw();
  const events = new EventSource("events");
  events.addEventListener("title", (event) => {
    const said = JSON.parse(event.data);
    byId("title").textContent = said.title;
    stages = said.stages;
    state = "waiting";
    pulses.length = 0;
    say();
  });
  events.addEventListener("reading", (event) => {
    const said = JSON.parse(event.data);
    reading = said.reading;
    pulses.push(...said.pulses);
    pulses.splice(0, Math.max(0, pulses.length - KEEP));
    state = "running";
    show();
  });
  events.addEventListener("end", () => {
    state = "ended";
    events.close();
    if (reading !== null) byId("progress").value = 1;
    say();
  });
  events.addEventListener("error", () => {
    if (state !== "ended") { state = "lost"; say(); }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { draw(); show(); });
  new ResizeObserver(() => {
    for (const { plot, figure } of charts) plot.setSize({ width: figure.clientWidth - 26, height: 210 });
  }).observe(byId("charts"));
});
