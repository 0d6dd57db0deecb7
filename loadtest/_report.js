// Shows the numbers of the slot under the pointer, in all charts of an operation or server. The page is complete without it.
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
  const move = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * width;
    const at = ((x - left) / plot) * count;
    const index = Math.floor(at);
    if (index < 0 || index >= points.rate.length) return leave();
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
  for (const chart of charts) {
    chart.addEventListener("pointermove", move);
    chart.addEventListener("pointerleave", leave);
  }
}
