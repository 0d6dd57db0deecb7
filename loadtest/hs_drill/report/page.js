// Shows the numbers of the slot under the pointer, or where the arrow keys have gone, in all charts of an operation or server. The page is complete without it.
"use strict";
for (const panel of document.querySelectorAll(".panel")) {
  const { left, plot, width, slot, count, series } = JSON.parse(document.getElementById("series").textContent);
  const points = series[Number(panel.dataset.view)];
  const readout = panel.querySelector(".readout");
  const hint = readout.textContent;
  const charts = [...panel.querySelectorAll("svg.chart")];
  const cursors = charts.map((chart) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.setAttribute("class", "cursor");
    line.setAttribute("y2", chart.viewBox.baseVal.height);
    line.style.display = "none";
    chart.append(line);
    return line;
  });
  const show = (value, unit) => (value === null ? "–" : value.toLocaleString("en", { maximumSignificantDigits: 4 }) + unit);
  const leave = () => {
    for (const line of cursors) line.style.display = "none";
    readout.textContent = hint;
  };
  let index = 0;
  const point = (x) => {
    for (const line of cursors) {
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
      line.style.display = "";
    }
    const percentiles = ["p50", "p99", "p99.9"].map((name) => `${name} ${show(points[name][index], " ms")}`);
    const time = `${(index * slot).toFixed(2)} to ${((index + 1) * slot).toFixed(2)} s`;
    readout.textContent = [time, show(points.rate[index], " ops/s"), ...percentiles, show(points.errors[index], " errors/s"),
      ...(points.not_started?.[index] ? [show(points.not_started[index], " not started/s")] : [])].join(" · ");
  };
  const move = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * width;
    const at = Math.floor(((x - left) / plot) * count);
    if (at < 0 || at >= points.rate.length) return leave();
    index = at;
    point(x);
  };
  const step = (event) => {
    const last = points.rate.length - 1;
    const to = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    index = Math.min(Math.max(to, 0), last);
    point(left + (plot * (index + 0.5)) / count);
  };
  for (const chart of charts) {
    chart.tabIndex = 0;
    chart.addEventListener("keydown", step);
    chart.addEventListener("blur", leave);
    chart.addEventListener("pointermove", move);
    chart.addEventListener("pointerleave", leave);
  }
}
