"use strict";
(() => {
  const every = JSON.parse(document.getElementById("curves").textContent);
  const pick = document.getElementById("pick");
  if (!every.length || !pick) return;
  document.body.classList.add("scripted");
  const places = ["live-times", "live-load"].map((id) => document.getElementById(id));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const ms = (value) => (value == null ? "-" : value >= 1000 ? (value / 1000).toPrecision(3) + " s" : +value.toPrecision(3) + " ms");
  const rate = (value) => (value == null ? "-" : +value.toPrecision(3) + "/s");
  const seconds = (value) => (value == null ? "-" : +value.toPrecision(4) + " s");
  let plots = [];

  function series(name, side, dashed, say, ink) {
    return { label: name, stroke: ink("--" + side), width: dashed ? 1.5 : 2, dash: dashed ? [5, 4] : [], points: { show: false }, spanGaps: false, value: (_, value) => say(value) };
  }

  function stages(chart, marks, ink) {
    const { ctx, bbox } = chart;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = ink("--soft");
    ctx.font = 11 * devicePixelRatio + "px system-ui, sans-serif";
    ctx.setLineDash([2, 4]);
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    for (const [text, start] of marks) {
      const x = Math.round(chart.valToPos(start, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.fillText(text, x + 4, bbox.top + 10 * devicePixelRatio);
    }
    ctx.restore();
  }

  function plot(place, title, height, data, marks, lines, say, ink) {
    const axis = { stroke: ink("--soft"), grid: { stroke: ink("--grid"), width: 1 }, ticks: { stroke: ink("--grid"), width: 1 } };
    const options = {
      width: place.clientWidth || 600, height, cursor: { sync: { key: "run" } }, scales: { x: { time: false }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [{ ...axis, values: (_, at) => at.map(seconds) }, { ...axis, size: 70, values: (_, at) => at.map(say) }],
      hooks: { draw: [(chart) => stages(chart, marks, ink)] },
      series: [{ label: "at", value: (_, value) => seconds(value) }, ...lines],
    };
    place.setAttribute("aria-label", title);
    const made = new uPlot(options, data, place);
    place.onkeydown = (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const last = data[0].length - 1;
      const at = Math.min(last, Math.max(0, (made.cursor.idx ?? (step > 0 ? -1 : last + 1)) + step));
      made.setCursor({ left: made.valToPos(data[0][at], "x"), top: 10 }, true, true);
    };
    return made;
  }

  function draw() {
    for (const one of plots) one.destroy();
    const style = getComputedStyle(document.documentElement);
    const ink = (name) => style.getPropertyValue(name).trim();
    const one = every[pick.selectedIndex];
    const times = [one.at, one.b.p50, one.b.p95, one.c.p50, one.c.p95];
    const load = [one.at, one.b.offered, one.b.failed, one.c.offered, one.c.failed];
    plots = [
      plot(places[0], "Response time over the run, " + one.name + ". Left and right arrow keys move along it.", 240, times, one.stages, [
        series("baseline p50", "baseline", false, ms, ink), series("baseline p95", "baseline", true, ms, ink),
        series("candidate p50", "candidate", false, ms, ink), series("candidate p95", "candidate", true, ms, ink),
      ], ms, ink),
      plot(places[1], "Offered and failed, " + one.name + ". Left and right arrow keys move along it.", 150, load, one.stages, [
        series("baseline offered", "baseline", true, rate, ink), series("baseline failed", "baseline", false, rate, ink),
        series("candidate offered", "candidate", true, rate, ink), series("candidate failed", "candidate", false, rate, ink),
      ], rate, ink),
    ];
  }

  pick.addEventListener("change", draw);
  dark.addEventListener("change", draw);
  let wide = 0;
  new ResizeObserver(() => {
    if (Math.abs(places[0].clientWidth - wide) < 2) return;
    wide = places[0].clientWidth;
    plots.forEach((one, at) => one.setSize({ width: places[at].clientWidth, height: one.height }));
  }).observe(places[0]);
  draw();
  wide = places[0].clientWidth;
})();
