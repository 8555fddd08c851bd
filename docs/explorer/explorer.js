"use strict";

/* Panels 1 to 4, and the state of the page: one object, which every control sets and every panel draws. */
(() => {
  const at = (id) => document.getElementById(id);
  const LIMITS = {
    r: [0, rtu.LONGEST], theta: [0, rtu.TURN], steps: [10, 200], T: [1, 60], decay: [0, 1], gap: [1, 50],
  };
  const WHOLE = ["steps", "T", "gap"];
  const STARTS_LEARNING = ["r", "theta", "T", "gap"]; // what panel 5 starts again with
  const state = { r: 0.9, theta: 0.3, steps: 40, T: 4, decay: 0.9, gap: 10, form: "r/theta" };

  /* Change some of the state and draw. A number out of its limits is brought to the nearest, and what is no number is
     left as it was. */
  function set(changes) {
    for (const [key, value] of Object.entries(changes)) {
      if (!Number.isFinite(value)) continue;
      const [low, high] = LIMITS[key];
      state[key] = Math.min(Math.max(WHOLE.includes(key) ? Math.round(value) : value, low), high);
    }
    if (Object.keys(changes).some((key) => STARTS_LEARNING.includes(key))) bridge.reset(state);
    draw();
  }

  // ------------------------------------------------------------------------------------------------ the plane

  const SIZE = 340, EDGE = 1.18; // the largest side in pixels; half of the side in the plane's units
  const scene = charts.shape("svg", {});
  const back = charts.shape("g", {}), pole = charts.shape("g", {
    id: "pole", tabindex: 0, role: "slider", "aria-label": "pole: left and right arrow change theta, up and down arrow change r",
    "aria-valuemin": 0, "aria-valuemax": rtu.LONGEST,
  });
  pole.append(charts.shape("circle", { class: "ring", r: 14 }), charts.shape("circle", { class: "knob", r: 8 }));
  scene.append(back, pole);

  function drawPlane() {
    const host = at("plane"), width = charts.roomIn(host);
    if (!width) return;
    if (scene.parentNode !== host) host.replaceChildren(scene);
    const side = Math.min(width, SIZE), unit = side / 2 / EDGE, { r, theta } = state;
    const px = (x) => side / 2 + unit * x, py = (y) => side / 2 - unit * y;
    for (const [key, value] of Object.entries({ width: side, height: side, viewBox: `0 0 ${side} ${side}` })) scene.setAttribute(key, value);
    const shapes = [];
    const put = (...shapeOf) => shapes.push(charts.shape(...shapeOf));
    put("line", { class: "zero", x1: 0, x2: side, y1: py(0), y2: py(0) });
    put("line", { class: "zero", x1: px(0), x2: px(0), y1: 0, y2: side });
    put("circle", { class: "circle", cx: px(0), cy: py(0), r: unit });
    put("text", { class: "axis", x: side - 2, y: py(0) - 6, "text-anchor": "end" }, "Re");
    put("text", { class: "axis", x: px(0) + 6, y: 11 }, "Im");
    put("text", { x: px(1) + 3, y: py(0) + 15 }, "1");
    put("text", { x: px(0) + 5, y: py(1) - 4 }, "i");
    put("text", { x: px(-0.72), y: py(-0.92), "text-anchor": "middle" }, "|λ| = 1");

    const ticks = Array.from({ length: state.steps }, (_, t) => [r ** t * Math.cos(t * theta), r ** t * Math.sin(t * theta)]);
    put("path", { class: "spiral", d: ticks.map(([x, y], k) => `${k ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join("") });
    for (const [x, y] of ticks) put("circle", { class: "dot", cx: px(x), cy: py(y), r: 2.5 });
    const angle = Math.min(theta, rtu.TURN - 1e-3), radius = 0.22;
    if (angle > 0.02) {
      const end = [px(radius * Math.cos(angle)), py(radius * Math.sin(angle))];
      const size = unit * radius;
      put("path", { class: "arc", d: `M${px(radius)} ${py(0)}A${size} ${size} 0 ${angle > Math.PI ? 1 : 0} 0 ${end[0]} ${end[1]}` });
      const middle = angle > 0.8 ? angle / 2 : -0.35; // a small angle has no room for its letter
      put("text", { class: "letter", x: px(0.32 * Math.cos(middle)), y: py(0.32 * Math.sin(middle)) + 5, "text-anchor": "middle" }, "θ");
    }
    const [x, y] = [r * Math.cos(theta), r * Math.sin(theta)];
    put("line", { class: "hand", x1: px(0), y1: py(0), x2: px(x), y2: py(y) });
    put("text", { class: "letter", x: px(x) + (x > 0.7 ? -26 : 14), y: py(y) - 10 }, "λ");
    back.replaceChildren(...shapes);
    pole.setAttribute("transform", `translate(${px(x).toFixed(2)} ${py(y).toFixed(2)})`);
    pole.setAttribute("aria-valuenow", r);
    pole.setAttribute("aria-valuetext", `r ${charts.brief(r)}, theta ${charts.brief(theta)} radians`);
  }

  function words({ r, theta }) {
    const { halfLife, period, backwards } = rtu.clock(r, theta);
    if (r === 0) return "This clock forgets at once: after one step nothing is left.";
    const half = `Half of an input is forgotten after ${charts.brief(halfLife)} steps`;
    if (period === Infinity) return `${half}, and the hand does not turn.`;
    if (period < 2 + 1e-9) return `${half}, and the hand flips to the other side at every step.`;
    const direction = backwards ? ` backwards, since θ is more than half a turn` : "";
    return `${half}, and the hand turns once in ${charts.brief(period)} steps${direction}.`;
  }

  function moveTo(event) {
    const box = scene.getBoundingClientRect(), unit = box.width / 2 / EDGE;
    const x = (event.clientX - box.left - box.width / 2) / unit, y = (box.top + box.height / 2 - event.clientY) / unit;
    const theta = Math.atan2(y, x);
    set({ r: Math.hypot(x, y), theta: theta < 0 ? theta + rtu.TURN : theta });
  }

  scene.addEventListener("pointerdown", (event) => {
    event.preventDefault(); // no selection of text while dragging
    pole.focus();
    scene.setPointerCapture(event.pointerId);
    moveTo(event);
  });
  scene.addEventListener("pointermove", (event) => {
    if (scene.hasPointerCapture(event.pointerId)) moveTo(event);
  });
  pole.addEventListener("keydown", (event) => {
    const fine = event.shiftKey ? 0.1 : 1, { r, theta } = state;
    const around = (angle) => ((angle % rtu.TURN) + rtu.TURN) % rtu.TURN;
    const moves = {
      ArrowRight: { theta: around(theta + 0.05 * fine) },
      ArrowLeft: { theta: around(theta - 0.05 * fine) },
      ArrowUp: { r: r + 0.01 * fine },
      ArrowDown: { r: r - 0.01 * fine },
    };
    if (!moves[event.key]) return;
    event.preventDefault(); // the page would scroll
    set(moves[event.key]);
  });

  // ----------------------------------------------------------------------------------------------- the charts

  function drawCharts() {
    const { r, theta, steps, T, decay, gap, form } = state, dots = steps <= 60;
    const time = { label: "steps after the input", range: [0, steps - 1] };
    const two = ({ c1, c2 }) => [{ values: c1, color: "c1", dots }, { values: c2, color: "c2", dash: "6 4", dots }];
    const { c1, c2, envelope } = rtu.impulse(r, theta, steps);
    charts.draw(at("impulse"), {
      label: "The state c1 and c2 after an input of 1",
      height: 190,
      x: time,
      y: { label: "state" },
      lines: [
        { values: envelope, color: "envelope", dash: "2 3" },
        { values: envelope.map((each) => -each), color: "envelope", dash: "2 3" },
        ...two({ c1, c2 }),
      ],
    });
    const { a, b } = rtu.sensitivities(r, theta, steps, form);
    const names = form === "r/theta" ? ["dc / dr", "dc / dθ, per rad"] : ["dc / dν log", "dc / dθ log"];
    [a, b].forEach((values, k) => charts.draw(at(k ? "by-b" : "by-a"), {
      label: `The sensitivity ${names[k]} of both parts of the state`, x: time, y: { label: names[k] }, lines: two(values),
    }));

    const credit = rtu.credit(r, theta, steps, T, decay), uprights = gap < steps ? [{ x: gap, text: "gap" }] : [];
    const lag = { label: "age k of the input, in steps", range: [0, steps - 1] };
    const pair = (whole, cut) => [
      { values: whole, color: "rtrl", dots },
      { values: cut, color: "tbptt", dash: "6 4", dots },
    ];
    charts.draw(at("credit"), {
      label: "The credit of an input k steps ago in the gradient of the present output",
      x: lag, y: { label: "credit, now = 1", range: [0, 1.08] }, uprights, lines: pair(credit.rtrl, credit.tbptt),
    });
    charts.draw(at("traced"), {
      label: "The credit of an input k steps ago in the trace of TD(lambda)",
      x: lag, y: { label: "credit, now = 1" }, uprights, lines: pair(credit.rtrlTrace, credit.tbpttTrace),
    });
    const { rtrl, tbptt, rtrlTrace, tbpttTrace } = Object.fromEntries(
      Object.entries(rtu.credit(r, theta, gap + 1, T, decay)).map(([name, values]) => [name, charts.brief(values[gap])]));
    at("credit-words").textContent = `An input ${gap} ${gap === 1 ? "step" : "steps"} ago, the gap of panel 5, relative to the present one: in the gradient ` +
      `${rtrl} with RTRL and ${tbptt} with T-BPTT(${T}); in the trace ${rtrlTrace} and ${tbpttTrace}. The trace has it as an input of earlier outputs.`;
  }

  function draw() {
    for (const input of document.querySelectorAll("[data-key]")) {
      if (input === document.activeElement && input.type === "number") continue; // do not write where someone types
      input.value = input.type === "number" ? Number(state[input.dataset.key].toFixed(4)) : state[input.dataset.key];
    }
    for (const each of document.querySelectorAll("b.T")) each.textContent = state.T;
    at("words").textContent = words(state);
    drawPlane();
    drawCharts();
    bridge.draw();
  }

  for (const input of document.querySelectorAll("[data-key]")) {
    input.addEventListener("input", () => set({ [input.dataset.key]: input.value === "" ? NaN : Number(input.value) }));
    input.addEventListener("blur", draw); // what was typed may have been out of its limits
  }
  for (const button of document.querySelectorAll("#examples button")) {
    const { r, theta } = button.dataset;
    button.addEventListener("click", () => set({ r: Number(r), theta: theta === "pi" ? Math.PI : Number(theta) }));
  }
  at("form").addEventListener("change", () => {
    state.form = at("form").value;
    draw();
  });
  bridge.listen(() => {
    bridge.reset(state);
    draw();
  });
  bridge.reset(state);
  let width = 0;
  new ResizeObserver(() => {
    if (document.body.clientWidth === width) return;
    width = document.body.clientWidth;
    draw();
  }).observe(document.body);
  draw();
  window.explorer = { set, state };
})();
