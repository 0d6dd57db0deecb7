// Fills the page once a second. All text goes in as text, never as markup.
"use strict";
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};
const draw = (tag, attributes = {}, ...children) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

const count = (value) => Math.round(value).toLocaleString("en");
const micro = (value) => (value === null ? "–" : `${value.toLocaleString("en")}`);
const since = (value) => (value === null ? "" : `${value.toFixed(1)} s`);

// A sign and a word: neither needs colour.
const STATES = {
  up: ["▲", "good"], down: ["▼", "bad"], stalled: ["■", "open"], refusing: ["◆", "open"], "not used": ["·", "soft"],
  on: ["●", "open"], over: ["✓", "good"], failed: ["✗", "bad"], planned: ["…", "soft"],
};
const state = (word) => {
  const [sign, tone] = STATES[word] ?? ["·", "soft"];
  return make("span", { class: tone }, make("span", { "aria-hidden": "true", class: "sign" }, sign), ` ${word}`);
};

const table = (headings, rows, none) => {
  if (!rows.length) return make("p", { class: "soft" }, none);
  const head = headings.map((text) =>
    make("th", { scope: "col", class: text.startsWith("#") ? "number" : "" }, text.replace("#", ""))
  );
  // A long name may be broken, so that numbers stay in sight on a phone.
  const look = (cell, i) => (headings[i].startsWith("#") ? "number" : !i && cell.length > 24 ? "long" : "");
  const body = rows.map((row) =>
    make("tr", {}, ...row.map((cell, i) => make(i ? "td" : "th", { class: look(cell, i), ...(i ? {} : { scope: "row" }) }, cell)))
  );
  return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body));
};
// Leaves unchanged children alone: they keep the focus, and screen readers do not read them out again.
const fill = (element, ...children) => {
  const there = [...element.childNodes];
  if (there.length === children.length && children.every((child, i) => child.isEqualNode(there[i]))) return;
  element.replaceChildren(...children);
};
const FIGURES = ["#per second", "#p50 µs", "#p99 µs", "#p99.9 µs", "#max µs", "#failed per second"];
const figures = (one) => [count(one.rate), ...["p50", "p99", "p99.9", "max"].map((name) => micro(one[name])), count(one.failed)];

const WIDTH = 420, HEIGHT = 170, LEFT = 66, TOP = 8, BOTTOM = 22;
const PLOT = WIDTH - LEFT - 14;

// Scales that end, and have their lines, at round numbers.
const power = (value) => 10 ** Math.floor(Math.log10(value));
const linear = (most) => {
  const top = most > 0 ? [1, 2, 4, 6, 8, 10].map((step) => step * power(most)).find((value) => value >= most) : 1;
  return { bottom: 0, top, ticks: top > 1 ? [0, top / 2, top] : [0, top] };
};
const logarithmic = (least, most) => {
  const bottom = power(least);
  const ticks = [bottom, bottom * 10];
  while (ticks.at(-1) < most) ticks.push(ticks.at(-1) * 10);
  return { bottom, top: ticks.at(-1), ticks };
};

const chart = (title, live, lines, { log = false } = {}) => {
  const end = live.seconds;
  const span = Math.min(Math.max(Math.ceil(end / 10) * 10, 20), 120);
  const x = (at) => LEFT + (PLOT * (at - end + span)) / span;
  const values = lines.flatMap(({ name }) => live.points.map((point) => point[name])).filter((value) => value !== null);
  const most = Math.max(...values, 0);
  const { bottom, top, ticks } = log ? logarithmic(Math.max(Math.min(...values), 1), Math.max(most, 1)) : linear(most);
  const height = HEIGHT - TOP - BOTTOM;
  const y = (value) =>
    TOP + height * (1 - (log ? Math.log(Math.max(value, bottom) / bottom) / Math.log(top / bottom) : value / top));
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title });
  for (const fault of live.faults) {
    if (fault.state === "planned" || fault.state === "failed") continue;
    const [left, right] = [fault.start, fault.end ?? end].map((at) => Math.max(x(at), LEFT));
    if (right > LEFT) {
      const band = draw("rect", { class: "band", x: left, y: TOP, width: Math.max(right - left, 2), height });
      band.append(draw("title", {}, fault.name));
      svg.append(band);
    }
  }
  for (const value of ticks) {
    svg.append(draw("line", { class: "grid", x1: LEFT, x2: LEFT + PLOT, y1: y(value), y2: y(value) }));
    svg.append(draw("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, count(value)));
  }
  for (let back = 0; back <= span; back += span / (span % 40 ? 5 : 4)) {
    const at = x(end - back);
    svg.append(draw("text", { x: at, y: HEIGHT - 4, "text-anchor": "middle" }, back ? `−${back} s` : live.ended ? "end" : "now"));
  }
  for (const { name, look } of lines) {
    let path = "";
    let pen = "M";
    for (const point of live.points) {
      if (point[name] === null) {
        pen = "M";
        continue;
      }
      const place = x(point.at + 0.5);
      if (place >= LEFT) {
        path += `${pen}${place.toFixed(1)},${y(point[name]).toFixed(1)}${pen === "M" ? "h0" : ""}`;
        pen = "L";
      }
    }
    svg.append(draw("path", { class: `line ${look}`, d: path }));
  }
  return make("figure", {}, make("figcaption", {}, title), svg);
};

const NO_TIME_LEFT = "The load engine has no time left: it is the limit now, not the servers.";
const verdict = (result, runs) => {
  if (!result) return [];
  const tone = { 0: "good", 4: "open", 5: "open" }[result.exit_code] ?? "bad";
  const sign = { good: "✓", open: "?", bad: "✗" }[tone];
  const missed = result.expectations.filter((one) => one.result === "miss" || one.result === "unknown");
  const list = missed.map((one) => make("li", {}, make("strong", {}, `${one.result} ${one.name}`), `: ${one.line}`));
  const link = make("a", { href: `runs/${runs.length - 1}/report`, target: "_blank" }, "report");
  return [
    make("div", { class: `verdict ${tone}` },
      make("span", { class: "badge", "aria-hidden": "true" }, sign),
      make("div", {}, make("strong", {}, result.verdict), make("span", { class: "soft" }, ` · exit code ${result.exit_code} · `), link,
        ...(list.length ? [make("ul", {}, ...list)] : []),
        ...result.advice.map((line) => make("p", {}, line)))),
  ];
};

const show = (status) => {
  const { live } = status;
  const running = ["running", "spawning"].includes(status.state);
  byId("scenario").textContent = status.scenario;
  byId("about").textContent = [status.description, `servers: ${status.cluster}`].filter(Boolean).join(" · ");
  const faults = live.phase && `${live.phase}${live.phase.startsWith("during") ? "" : " the faults"}`;
  const phase = running ? [`${status.state} for ${live.seconds.toFixed(0)} s`, `${status.users} users`, faults] : [status.state];
  byId("phase").textContent = [...phase, status.doing].filter(Boolean).join(" · ");
  const limit = status.verdict?.engine.limit || (running && live.engine.no_time_left && NO_TIME_LEFT);
  fill(byId("engine"), ...(limit ? [make("span", { class: "sign", "aria-hidden": "true" }, "■"), limit] : []));
  fill(byId("verdict"), ...verdict(status.verdict, status.runs));
  const tiles = [
    ["operations per second", count(live.all.rate)],
    ["p50 µs", micro(live.all.p50)],
    ["p99 µs", micro(live.all.p99)],
    ["p99.9 µs", micro(live.all["p99.9"])],
    ["in flight", count(live.in_flight)],
    ["failures", count(live.failures)],
    ...(live.not_started ? [["not started", count(live.not_started)]] : []),
    ["repeated", count(live.repeated)],
    ["load engine busy", live.engine.busy === null ? "–" : `${Math.round(live.engine.busy * 100)} %`],
    ["its event loop late, p99 µs", micro(live.engine.p99)],
  ];
  byId("tiles").replaceChildren(...tiles.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  byId("charts").replaceChildren(
    chart("Operations that succeeded, per second", live, [{ name: "rate", look: "rate" }]),
    chart("Latency in µs: p50 (solid), p99 (dashed), p99.9 (dotted)", live,
      [{ name: "p50", look: "p50" }, { name: "p99", look: "p99" }, { name: "p99.9", look: "p999" }], { log: true }),
    chart("Failures per second", live, [{ name: "failed", look: "failed" }]),
    chart("Load engine's event loop late by, in µs: p50, p99 (dashed)", live,
      [{ name: "lag_p50", look: "p50" }, { name: "lag_p99", look: "p99" }], { log: true })
  );
  byId("servers").replaceChildren(
    table(["server", "state", "#in flight", ...FIGURES],
      live.servers.map((one) => [one.name, state(one.state), count(one.in_flight), ...figures(one)]), "They come with the first run.")
  );
  byId("operations").replaceChildren(
    table(["operation", ...FIGURES], Object.entries(live.operations).map(([name, one]) => [name, ...figures(one)]), "None yet.")
  );
  byId("faults").replaceChildren(
    table(["fault", "state", "#from", "#to", "what else"],
      live.faults.map((one) => [one.name, state(one.state), since(one.start), since(one.end), one.told]), "The scenario has none.")
  );
  fill(byId("runs"),
    table(["run", "verdict", "report"],
      status.runs.map((one, i) => [one.name, one.verdict, make("a", { href: `runs/${i}/report`, target: "_blank" }, "report")]),
      "None has ended yet.")
  );
  parent.postMessage({ height: document.documentElement.scrollHeight }, location.origin);
};

const theme = () => {
  // Follows Locust's own switch.
  const chosen = localStorage.theme;
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
};

const refresh = async () => {
  theme();
  try {
    show(await (await fetch("live")).json());
  } catch {
    byId("phase").textContent = "Locust does not answer.";
  }
  setTimeout(refresh, 1000);
};
refresh();
