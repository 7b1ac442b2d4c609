// Tab of the row cache: figures, charts, actions and the search for a row. Texts are set as text, never as HTML.
(function () {
  "use strict";

  const HOUR_S = 3600;
  const SVG = "http://www.w3.org/2000/svg";
  const root = document.getElementById("rowcache");
  const part = (name) => document.getElementById("rowcache-" + name);

  let chosen = new URLSearchParams(location.search).get("table");
  let interval_s = Number(root.dataset.interval);
  let points = [];
  let status = null;
  let isAsking = false;
  let listed = {};

  // Figures, in the form of `rowcache status`

  function duration(seconds) {
    if (seconds === null || seconds === undefined) return "–";
    if (seconds < 1) return Math.round(seconds * 1000) + " ms";
    if (seconds < 100) return seconds.toFixed(1) + " s";
    if (seconds < 6000) return Math.round(seconds / 60) + " min";
    return seconds < 172800 ? (seconds / 3600).toFixed(1) + " h" : (seconds / 86400).toFixed(1) + " d";
  }

  const milliseconds = (value) => duration(value === null ? null : value / 1000);
  const count = (value) => (value === null || value === undefined ? "–" : Number(value).toLocaleString("en"));
  const share = (value) => (value === null ? "–" : Math.floor(value * 1000) / 10 + " %");

  function rate(value) {
    if (value === null) return "–";
    return value < 1000 ? (Math.round(value * 10) / 10).toLocaleString("en") : count(Math.round(value));
  }

  // Elements

  function make(tag, className, ...content) {
    const element = document.createElement(tag);
    element.className = className;
    element.append(...content);
    return element;
  }

  function draw(tag, attributes, text) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text) element.textContent = text;
    return element;
  }

  const badge = (kind, text) => make("span", "badge text-bg-" + kind, text);

  function fill(table, headers, rows) {
    const [head, body] = [table.querySelector("thead tr"), table.tBodies[0]];
    const isNumber = (index) => headers[index].endsWith("#");
    const label = (header) => header.replace("#", "");
    if (!head.childElementCount) {
      head.append(...headers.map((header, index) => make("th", isNumber(index) ? "rc-number" : "", label(header))));
    }
    body.replaceChildren(
      ...rows.map((cells) => {
        const row = make("tr", "");
        cells.forEach((cell, index) => {
          const td = make("td", isNumber(index) ? "rc-number" : "", ...[cell].flat());
          td.dataset.label = label(headers[index]);
          row.append(td);
        });
        return row;
      }),
    );
  }

  // Requests

  function address(name, query) {
    const url = new URL(root.dataset[name], location.origin);
    url.search = new URLSearchParams(query);
    return url;
  }

  async function ask(name, query) {
    const reply = await fetch(address(name, query), { cache: "no-store" });
    return reply.json();
  }

  async function poll() {
    if (isAsking) return;
    isAsking = true;
    const asked = chosen;
    try {
      const since = points.length ? points[points.length - 1].at : 0;
      const found = await ask("figures", { table: asked || "", since });
      if (asked === chosen) show(found);
    } catch {
      warn("Flower does not answer.");
    }
    isAsking = false;
  }

  async function act(action) {
    const token = /(?:^|;\s*)_xsrf=([^;]+)/.exec(document.cookie);
    const url = new URL(root.dataset.action.replace("ACTION", action), location.origin);
    const options = { method: "POST", body: new URLSearchParams({ table: chosen }) };
    options.headers = { "X-XSRFToken": token ? decodeURIComponent(token[1]) : "" };
    let text = "Flower does not answer.";
    try {
      const reply = await fetch(url, options);
      const body = await reply.text();
      const isJson = (reply.headers.get("Content-Type") || "").includes("json");
      const found = isJson ? JSON.parse(body) : { error: body || "refused with status " + reply.status };
      text = found.message || found.error;
    } catch {
      // The text says it.
    }
    part("message").textContent = text;
    setTimeout(poll, 500);
  }

  async function explain(form) {
    const pre = part("row");
    let lines;
    try {
      const found = await ask("row", new FormData(form));
      lines = found.lines || [found.error];
    } catch {
      lines = ["Flower does not answer."];
    }
    pre.textContent = lines.join("\n");
    pre.hidden = false;
  }

  // The page

  function warn(text) {
    part("banner").textContent = text;
    part("banner").hidden = !text;
  }

  function show(found) {
    status = found.status;
    interval_s = found.interval_s;
    root.classList.toggle("rc-empty", !status);
    const since = found.age_s === null ? "" : " The figures are " + duration(found.age_s) + " old.";
    if (found.error) warn(found.error + "." + since);
    else warn(found.age_s === null ? "Redis has not answered yet." : found.age_s > 4 * interval_s ? since : "");
    const named = (values) => Object.fromEntries(found.series.map((name, index) => [name, values[index]]));
    points.push(...found.points.map(named));
    if (!status) return;
    if (points.length && points[points.length - 1].at > status.at) points = []; // the clock of Redis stepped back
    if (!points.length) return;
    if (!chosen || !(chosen in status.tables)) return choose(Object.keys(status.tables)[0]);
    points = points.filter((point) => point.at > points[points.length - 1].at - HOUR_S);
    showCards();
    showProblems();
    showTables();
    showChosen();
    if (!found.error) showFailing(status.tables[chosen].failing);
    showCharts();
    showQueues();
    showProcesses();
  }

  function choose(table) {
    if (table === chosen) return;
    chosen = table;
    points = [];
    part("message").textContent = "";
    part("search").elements.table.value = table;
    const url = new URL(location.href);
    url.searchParams.set("table", table);
    history.replaceState(null, "", url);
    isAsking = false;
    poll();
  }

  function showCards() {
    const tables = Object.values(status.tables);
    const sum = (name) => tables.reduce((total, table) => total + (table[name] || 0), 0);
    const promises = tables.map((table) => table.promise).filter((promise) => promise && promise.state);
    const kept = promises.filter((promise) => promise.state === "kept").length;
    const cards = [
      ["Dispatchers", count(status.dispatchers.length), !status.dispatchers.length],
      ["Workers", count(status.workers.length), !status.workers.length],
      ["Refreshes/s", rate(sum("rate")), false],
      ["Overdue rows", count(sum("overdue")), tables.some((table) => table.stalled)],
      ["Failing rows", count(sum("failing")), sum("failing") > 0],
      ["Promises kept", promises.length ? kept + " of " + promises.length : "–", kept < promises.length],
    ];
    part("cards").replaceChildren(
      ...cards.map(([name, value, isBad]) =>
        make(
          "div",
          "metric-card" + (isBad ? " metric-card-danger" : ""),
          make("p", "metric-label", name),
          make("p", "metric-value", value),
        ),
      ),
    );
  }

  function showProblems() {
    const box = part("problems");
    box.hidden = !status.problems.length;
    box.querySelector("summary").textContent =
      status.problems.length === 1 ? "1 problem" : count(status.problems.length) + " problems";
    box.querySelector("ul").replaceChildren(
      ...status.problems.map(({ level, text }) =>
        make("li", "", badge(level === "fail" ? "danger" : "warning", level), " " + text),
      ),
    );
  }

  function badges(table) {
    const { promise, paused_at } = table;
    const kinds = { kept: "success", "at risk": "warning", broken: "danger" };
    const found = [];
    if (promise && promise.state) found.push(badge(kinds[promise.state], promise.state));
    if (paused_at !== null) found.push(badge("warning", "paused"));
    if (table.stalled) found.push(badge("danger", "stalled"));
    return found.flatMap((element, index) => (index ? [" ", element] : [element]));
  }

  const HEADERS = [
    ...["Table", "Promise", "Age p50#", "Age p99#", "Oldest#", "Late p50#", "Late p99#"],
    ...["Refreshes/s#", "Unchanged#", "Rows#", "Overdue#", "Failing#"],
  ];

  function showTables() {
    const rows = Object.entries(status.tables).map(([name, table]) => {
      const button = make("button", "rc-name", name);
      button.type = "button";
      const [marks, failing] = [badges(table), [count(table.failing)]];
      if (table.failing && table.error) {
        failing.push(make("span", "rc-reason", table.error));
        failing[1].title = table.error;
      }
      return [
        ...[button, marks.length ? marks : "–", duration(table.age_p50), duration(table.age_p99), duration(table.age_max)],
        ...[milliseconds(table.late_p50_ms), milliseconds(table.late_p99_ms), rate(table.rate)],
        ...[share(table.unchanged_share), count(table.scheduled)],
        ...[table.overdue ? count(table.overdue) + " for " + duration(table.overdue_s) : "0", failing],
      ];
    });
    const focused = document.activeElement && document.activeElement.className === "rc-name";
    fill(part("tables"), HEADERS, rows);
    Object.keys(status.tables).forEach((name, index) => {
      const row = part("tables").tBodies[0].rows[index];
      row.classList.toggle("rc-chosen", name === chosen);
      row.addEventListener("click", () => choose(name));
      if (name === chosen) {
        row.setAttribute("aria-current", "true");
        if (focused) row.querySelector("button").focus({ preventScroll: true });
      }
    });
  }

  function showChosen() {
    const table = status.tables[chosen];
    const { promise } = table;
    part("chosen").textContent = chosen;
    part("badges").replaceChildren(...badges(table));
    const never = table.never_refreshed ? " Never refreshed: " + count(table.never_refreshed) + "." : "";
    const within = promise ? " of the rows within " + duration(promise.max_staleness) : "";
    const target = promise ? "Promise: " + Math.round(promise.target * 1e6) / 1e4 + " %" + within + ". " : "No promise.";
    const now = promise && promise.achieved !== null ? "Now: " + Math.floor(promise.achieved * 1e4) / 100 + " %." : "";
    part("promise").textContent = target + now + (promise && promise.cause ? " " + promise.cause + "." : "") + never;
    root.querySelectorAll("button[data-action]").forEach((button) => {
      const { action } = button.dataset;
      button.hidden = (action === "pause") === (table.paused_at !== null) && action !== "refresh-failing";
      if (action === "refresh-failing") button.disabled = !table.failing;
    });
  }

  // The list may cost a look at many rows: it is asked for when their number has changed, else twice a minute.
  async function showFailing(failing) {
    const [box, table, now] = [part("failing"), chosen, Date.now()];
    if (listed.table === table && listed.failing === failing && now - listed.at < 30000) return;
    listed = { table, failing, at: now };
    let rows = [];
    try {
      if (failing) ({ rows = [] } = await ask("failing", { table }));
    } catch {
      return;
    }
    if (table !== chosen) return;
    box.hidden = !rows.length;
    const more = failing > rows.length ? [make("li", "rc-muted", "… " + count(failing) + " in all")] : [];
    const lines = rows.map(([row_id, failures, error]) =>
      make("li", "", make("b", "", row_id), " – " + (failures === 1 ? "once" : count(failures) + " times") + ": " + error),
    );
    box.querySelector("ul").replaceChildren(...lines, ...more);
  }

  function showQueues() {
    const rows = Object.entries(status.queues).map(([name, queue]) => [
      ...[name, count(queue.length), duration(queue.oldest_s), count(queue.consumers)],
    ]);
    fill(part("queues"), ["Queue", "Waiting#", "Oldest#", "Consumers#"], rows);
  }

  function showProcesses() {
    const of = (kind) => (process) => [
      ...[process.name, kind, String(process.pid), count(process.tables.length)],
      ...[process.batch_at ? duration(Math.max(0, status.at - process.batch_at)) + " ago" : "–"],
    ];
    const rows = [...status.dispatchers.map(of("dispatcher")), ...status.workers.map(of("worker"))];
    fill(part("processes"), ["Process", "Kind", "Pid#", "Tables#", "Last batch#"], rows);
  }

  // Charts

  const CHARTS = [
    ["Age of the values", duration, { age_p50: "p50", age_p99: "p99", age_max: "oldest" }],
    ["Lateness", milliseconds, { late_p50_ms: "p50", late_p99_ms: "p99" }],
    ["Refreshes a second", rate, { rate: "refreshes" }],
    ["Unchanged values", share, { unchanged_share: "unchanged" }, 1],
    ["Overdue and failing rows", count, { overdue: "overdue", failing: "failing" }],
    ["Queues of all tables", count, { refresh: "batches", schedule: "schedule changes" }],
  ];

  function showCharts() {
    const [first, last] = [points[0], points[points.length - 1]];
    if (!first) return;
    const kept_s = last.at - first.at;
    part("span").textContent =
      kept_s > HOUR_S - 3 * interval_s
        ? "The last hour. Rates and lateness are those of a minute."
        : "Since Flower started, " + duration(kept_s) + " ago. Rates and lateness are those of a minute.";
    const box = part("charts");
    while (box.childElementCount < CHARTS.length) box.append(make("figure", ""));
    const { promise } = status.tables[chosen];
    CHARTS.forEach(([title, form, lines, top], index) => {
      const limit = index === 0 && promise ? promise.max_staleness : null;
      showChart(box.children[index], { title, form, lines, top, limit, to: last.at, from: last.at - Math.max(300, kept_s) });
    });
  }

  const LONG_S = [60, 120, 240, 600, 1200, 3600, 7200, 14400, 28800, 86400, 172800];

  function nice(value, form) {
    const seconds = form === duration ? value : form === milliseconds ? value / 1000 : 0;
    const long_s = seconds > 50 && LONG_S.find((step) => step >= seconds);
    if (long_s) return (long_s * value) / seconds;
    const unit = 10 ** Math.floor(Math.log10(value));
    return unit * [1, 2, 5, 10].find((step) => step * unit >= value * 0.9999);
  }

  function showChart(figure, { title, form, lines, top, limit, to, from }) {
    const [width, height, left, bottom] = [figure.clientWidth || 320, 130, 52, 18];
    const names = Object.keys(lines);
    const values = points.flatMap((point) => names.map((name) => point[name]));
    const highest = Math.max(...values.map((value) => value || 0), limit || 0);
    const high = top || (highest ? nice(highest, form) : 1);
    const x = (at) => left + ((at - from) / (to - from)) * (width - left - 4);
    const y = (value) => 6 + (1 - value / high) * (height - bottom - 6);
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
    for (const value of [0, high / 2, high]) {
      svg.append(draw("line", { x1: left, x2: width - 4, y1: y(value), y2: y(value) }));
      svg.append(draw("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, form(value)));
    }
    for (const [at, anchor] of [[from, "start"], [(from + to) / 2, "middle"], [to, "end"]]) {
      const clock = new Date(at * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
      svg.append(draw("text", { x: x(at), y: height - 3, "text-anchor": anchor }, clock));
    }
    if (limit) svg.append(draw("line", { class: "rc-limit", x1: left, x2: width - 4, y1: y(limit), y2: y(limit) }));
    names.forEach((name, index) => svg.append(draw("path", { class: "rc-" + (index + 1), d: path(name, x, y) })));

    const caption = make("figcaption", "", make("b", "", title));
    const texts = names.map((name, index) => {
      const text = document.createTextNode("");
      caption.append(make("span", "", make("i", "rc-" + (index + 1)), lines[name] + " ", text));
      return text;
    });
    if (limit) caption.append(make("span", "rc-muted", "promise " + form(limit)));
    const cursor = draw("line", { y1: 6, y2: height - bottom, visibility: "hidden" });
    svg.append(cursor);
    const point_at = (at) => points.reduce((best, point) => (Math.abs(point.at - at) < Math.abs(best.at - at) ? point : best));
    const tell = (point) => texts.forEach((text, index) => (text.data = form(point[names[index]])));
    tell(points[points.length - 1]);
    svg.addEventListener("pointermove", (event) => {
      const offset = event.clientX - svg.getBoundingClientRect().left;
      const point = point_at(from + ((offset - left) / (width - left - 4)) * (to - from));
      for (const name of ["x1", "x2"]) cursor.setAttribute(name, x(point.at));
      cursor.setAttribute("visibility", "visible");
      tell(point);
    });
    svg.addEventListener("pointerleave", () => {
      cursor.setAttribute("visibility", "hidden");
      tell(points[points.length - 1]);
    });
    figure.replaceChildren(caption, svg);
  }

  // A line is interrupted where a figure is not known, and while Redis was away.
  function path(name, x, y) {
    let before = null;
    return points
      .map((point) => {
        const value = point[name];
        if (value === null) return (before = null) || "";
        const step = before !== null && point.at - before < 4 * interval_s ? "L" : "M";
        before = point.at;
        return step + x(point.at).toFixed(1) + " " + y(value).toFixed(1) + (step === "M" ? "h0.1" : "");
      })
      .join("");
  }

  root.querySelectorAll("button[data-action]").forEach((button) => {
    button.addEventListener("click", () => act(button.dataset.action));
  });
  part("search").addEventListener("submit", (event) => {
    event.preventDefault();
    explain(event.target);
  });
  document.addEventListener("visibilitychange", () => document.hidden || poll());
  setInterval(() => document.hidden || poll(), interval_s * 1000);
  poll();
})();
