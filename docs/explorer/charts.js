"use strict";

/* Line charts in SVG. A chart fills the width of its element; one that is too narrow to be read says so. */
window.charts = (() => {
  const NARROWEST = 150; // pixels
  const MARGIN = { left: 50, right: 12, top: 8, bottom: 36 };

  function shape(name, attributes, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  /* A number in a few characters. */
  function brief(x) {
    if (x === 0) return "0";
    const size = Math.abs(x);
    if (size >= 1e6 || size < 1e-3) {
      const [digits, power] = x.toExponential(1).split("e");
      return `${digits.replace(/\.0$/, "")}e${Number(power)}`.replace("-", "−").replace("e-", "e−");
    }
    const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
    return String(Number(x.toFixed(digits))).replace("-", "−");
  }

  /* Round numbers within [low, high], at most `most` if more than two. */
  function ticks(low, high, most) {
    const power = 10 ** Math.floor(Math.log10((high - low) / most));
    const within = (unit) => {
      const first = Math.ceil(low / unit - 1e-9), last = Math.floor(high / unit + 1e-9);
      return Array.from({ length: last - first + 1 }, (_, k) => (first + k) * unit);
    };
    const choices = [1, 2, 5, 10].map((each) => within(each * power));
    return choices.find((each) => each.length <= most) ?? choices.at(-1);
  }

  /* [low, high] around all finite values of the lists, with 0 within. All zero: [-1, 1]. */
  function span(lists) {
    let low = 0, high = 0;
    for (const value of lists.flat()) {
      if (Number.isFinite(value)) {
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
    if (high - low < 1e-300) return [-1, 1];
    const room = 0.06 * (high - low);
    return [low < 0 ? low - room : 0, high > 0 ? high + room : 0];
  }

  /* The width in pixels, or 0 if nothing can be read in it. Then the element says so. */
  function roomIn(host) {
    const width = Math.floor(host.clientWidth);
    if (width >= NARROWEST) return width;
    const note = document.createElement("p");
    note.className = "narrow";
    note.textContent = `${NARROWEST} px are needed`;
    host.replaceChildren(note);
    return 0;
  }

  const heightFor = (width) => Math.round(Math.min(220, Math.max(150, width * 0.5)));

  /* How much wider than high the lines' room is. */
  const sides = (width, height) => (width - MARGIN.left - MARGIN.right) / (height - MARGIN.top - MARGIN.bottom);

  /* Draw into `host`: {label, x: {label, range, ticks, name}, y: {label, range, log}, lines, marks, uprights}.
     A line is {values, from, color, dash, dots}, its x is from, from + 1, ...; or {points} with pairs; a pair that is not finite is a gap.
     A mark is {x, y, color, text}. An upright is {x, text}. */
  function draw(host, chart) {
    const width = roomIn(host);
    if (!width) return;
    const height = chart.height ?? heightFor(width);
    const [x0, x1] = chart.x.range;
    const lists = chart.lines.map((line) => line.values ?? line.points.map((point) => point[1]));
    const [y0, y1] = chart.y.range ?? span(lists);
    const right = width - MARGIN.right, bottom = height - MARGIN.bottom;
    const unitOf = (y) => (chart.y.log ? Math.log10(Math.max(y, y0) / y0) / Math.log10(y1 / y0) : (y - y0) / (y1 - y0));
    const px = (x) => MARGIN.left + ((x - x0) / (x1 - x0)) * (right - MARGIN.left);
    const py = (y) => bottom - Math.min(Math.max(unitOf(y), 0), 1) * (bottom - MARGIN.top);

    const svg = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": chart.label });
    const put = (...shapeOf) => svg.append(shape(...shapeOf));
    const yTicks = chart.y.log
      ? ticks(Math.log10(y0), Math.log10(y1), 5).filter(Number.isInteger).map((power) => 10 ** power)
      : ticks(y0, y1, 5);
    for (const y of yTicks) {
      put("line", { class: y === 0 ? "zero" : "grid", x1: MARGIN.left, x2: right, y1: py(y), y2: py(y) });
      put("text", { x: MARGIN.left - 6, y: py(y) + 4, "text-anchor": "end" }, chart.y.log ? power(y) : brief(y));
    }
    for (const x of chart.x.ticks ?? ticks(x0, x1, Math.max(3, Math.floor(width / 60)))) {
      put("line", { class: "tick", x1: px(x), x2: px(x), y1: bottom, y2: bottom + 4 });
      put("text", { x: px(x), y: bottom + 16, "text-anchor": "middle" }, brief(x));
    }
    put("text", { class: "axis", x: right, y: height - 5, "text-anchor": "end" }, chart.x.label);
    put("text", { class: "axis", transform: `translate(11 ${MARGIN.top}) rotate(-90)`, "text-anchor": "end" }, chart.y.label);

    for (const { x, text } of chart.uprights ?? []) {
      put("line", { class: "upright", x1: px(x), x2: px(x), y1: MARGIN.top, y2: bottom });
      const atEnd = px(x) > right - 60;
      put("text", { x: px(x) + (atEnd ? -5 : 5), y: MARGIN.top + 11, "text-anchor": atEnd ? "end" : "start" }, text);
    }
    for (const line of chart.lines) {
      const points = line.points ?? line.values.map((value, k) => [k + (line.from ?? 0), value]);
      const isThere = (point) => point !== undefined && point.every(Number.isFinite);
      const drawn = points.filter(isThere);
      if (drawn.length > 1) {
        let d = "";
        points.forEach(([x, y], k) => {
          if (isThere(points[k])) d += `${isThere(points[k - 1]) ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`;
        });
        put("path", { class: "line", d, stroke: `var(--${line.color})`, "stroke-dasharray": line.dash ?? "none", "data-points": drawn.length });
      }
      if (line.dots || drawn.length === 1) {
        for (const [x, y] of drawn) put("circle", { cx: px(x), cy: py(y), r: 2.2, fill: `var(--${line.color})` });
      }
    }
    for (const { x, y, color, text } of chart.marks ?? []) {
      if (!Number.isFinite(x) || !Number.isFinite(y)) continue;
      put("circle", { class: "mark", cx: px(x), cy: py(y), r: 5, fill: `var(--${color})` });
      if (text) {
        const atEnd = px(x) > right - 60;
        put("text", { x: px(x) + (atEnd ? -9 : 9), y: py(y) + 4, "text-anchor": atEnd ? "end" : "start" }, text);
      }
    }
    host.replaceChildren(svg);
  }

  const RAISED = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

  function power(y) {
    const exponent = Math.round(Math.log10(y));
    return exponent === 0 ? "1" : `10${[...String(exponent)].map((sign) => RAISED[sign]).join("")}`;
  }

  return { shape, brief, draw, roomIn, heightFor, sides };
})();
