"use strict";

/* Panel 5: two units learn to bridge a gap, one by RTRL and one by T-BPTT(T). `charts` draws, `rtu.Bridge` learns. */
window.bridge = (() => {
  const MOST_TRIALS = 1000, MOST_STEPS_A_FRAME = 300, LEAST_ERROR = 1e-6;
  const at = (id) => document.getElementById(id);
  let units = {}, settings = {}, playing = false, lastTime = 0, owed = 0;

  /* Start again, with the pole, the gap and the window of `state`. */
  function reset(state) {
    const { r, theta, gap, T } = state, learnsReadout = at("learns-readout").checked;
    settings = { r, theta, gap, T };
    const made = (window) => new rtu.Bridge({ r, theta, gap, window, learnsReadout });
    units = { rtrl: made(Infinity), tbptt: made(T) };
    play(false);
  }

  function step() {
    units.rtrl.step();
    units.tbptt.step();
  }

  function trial() {
    do step();
    while (units.rtrl.t < settings.gap);
  }

  const isOver = () => units.rtrl.errors.length >= MOST_TRIALS;

  function play(on) {
    playing = on && !isOver();
    at("play").textContent = playing ? "Pause" : "Play";
    if (playing) {
      lastTime = performance.now();
      owed = 0;
      requestAnimationFrame(frame);
    }
  }

  function frame(now) {
    if (!playing) return;
    owed += ((now - lastTime) / 1000) * Number(at("speed").value);
    lastTime = now;
    const due = Math.min(Math.floor(owed), MOST_STEPS_A_FRAME);
    owed = due === MOST_STEPS_A_FRAME ? 0 : owed - due;
    for (let k = 0; k < due && !isOver(); k++) step();
    if (due) draw();
    if (isOver()) play(false);
    else requestAnimationFrame(frame);
  }

  // ------------------------------------------------------------------------------------------------- drawing

  function words() {
    const { gap, T } = settings;
    const still = at("learns-readout").checked ? "the readout does, and can scale up what is left of it" : "so W stays as it is";
    if (T > gap) return `The window of ${T} steps reaches the cue, ${gap} steps ago: T-BPTT(${T}) is RTRL, and both learn the same.`;
    return `The window of ${T} ${T === 1 ? "step" : "steps"} does not reach the cue, ${gap} ${gap === 1 ? "step" : "steps"} ago: ` +
      `the weights get no credit for it (${still}), and the pole gets it for ${T} of ${gap} turns.`;
  }

  function draw() {
    const { gap } = settings, { rtrl, tbptt } = units, t = Math.max(rtrl.t, 0);
    const responses = { rtrl: rtrl.response(), tbptt: tbptt.response() };
    const both = (values, from) => [
      { values: values.rtrl, from, color: "rtrl" },
      { values: values.tbptt, from, color: "tbptt", dash: "6 4" },
    ];
    const all = [...responses.rtrl, ...responses.tbptt, 1];
    charts.draw(at("trial"), {
      label: "The output v of both units over one trial, with the present parameters, and the target",
      x: { label: "step of the trial", range: [0, gap] },
      y: { label: "output v", range: [Math.min(...all, 0) - 0.15, Math.max(...all) + 0.15] },
      lines: both(responses, 0),
      uprights: [{ x: t, text: rtrl.t < 0 ? "cue" : t === gap ? "" : `now: ${t}` }],
      marks: [
        { x: gap, y: 1, color: "target", text: "target" },
        { x: t, y: responses.rtrl[t], color: "rtrl" },
        { x: t, y: responses.tbptt[t], color: "tbptt" },
      ],
    });
    const last = Math.max(20, rtrl.errors.length);
    charts.draw(at("errors"), {
      label: "The squared error at the end of each trial",
      x: { label: "trial", range: [0, last] },
      y: { label: "error (1 − v)²", range: [LEAST_ERROR, 10], log: true },
      lines: both({ rtrl: rtrl.errors, tbptt: tbptt.errors }, 1),
    });
    drawPaths();
    fillTable();
    at("bridge-words").textContent = words() + (isOver() ? ` ${MOST_TRIALS} trials are over; Reset starts again.` : "");
  }

  /* The poles' ways in the complex plane, on equal scales. */
  function drawPaths() {
    const host = at("paths"), width = charts.roomIn(host);
    if (!width) return;
    const inPlane = ([r, theta]) => [r * Math.cos(theta), r * Math.sin(theta)];
    const paths = Object.fromEntries(Object.entries(units).map(([name, unit]) => [name, unit.path.map(inPlane)]));
    const points = [...paths.rtrl, ...paths.tbptt];
    const middle = [0, 1].map((k) => {
      const values = points.map((point) => point[k]);
      return { low: Math.min(...values), high: Math.max(...values) };
    });
    const half = 0.6 * Math.max(0.2, ...middle.map(({ low, high }) => high - low));
    const height = charts.heightFor(width), wider = charts.sides(width, height);
    const [x, y] = middle.map(({ low, high }, k) => {
      const side = k ? half : half * wider;
      return [(low + high) / 2 - side, (low + high) / 2 + side];
    });
    const within = ([a, b]) => a >= x[0] && a <= x[1] && b >= y[0] && b <= y[1];
    const circle = Array.from({ length: 1441 }, (_, k) => inPlane([1, (k / 1440) * rtu.TURN]));
    charts.draw(host, {
      label: "The way of both poles in the complex plane, from the start to now",
      height,
      x: { label: "Re λ", range: x },
      y: { label: "Im λ", range: y },
      lines: [
        { points: circle.map((point) => (within(point) ? point : [NaN, NaN])), color: "envelope", dash: "2 3" },
        { points: paths.rtrl, color: "rtrl" },
        { points: paths.tbptt, color: "tbptt", dash: "6 4" },
      ],
      marks: [
        { x: points[0][0], y: points[0][1], color: "envelope", text: "start" },
        ...["rtrl", "tbptt"].map((color) => ({ x: paths[color].at(-1)[0], y: paths[color].at(-1)[1], color })),
      ],
    });
  }

  function fillTable() {
    at("trials").textContent = units.rtrl.errors.length;
    for (const [name, unit] of Object.entries(units)) {
      const error = unit.errors.length ? charts.brief(unit.errors.at(-1)) : "–";
      const numbers = [unit.unit.r.toFixed(4), unit.unit.theta.toFixed(3), Math.hypot(...unit.W).toFixed(2), Math.hypot(...unit.readout).toFixed(2)];
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = name === "rtrl" ? "RTRL" : `T-BPTT(${settings.T})`;
      const cells = [error, ...numbers].map((text) => {
        const cell = document.createElement("td");
        cell.textContent = text;
        return cell;
      });
      at(`row-${name}`).replaceChildren(head, ...cells);
    }
  }

  /* What the buttons do. `restart` resets with the page's present state. */
  function listen(restart) {
    const then = (act) => () => {
      play(false);
      if (!isOver()) act();
      draw();
    };
    at("play").addEventListener("click", () => play(!playing));
    at("one-step").addEventListener("click", then(step));
    at("one-trial").addEventListener("click", then(trial));
    at("reset").addEventListener("click", restart);
    at("learns-readout").addEventListener("change", restart);
  }

  return { reset, draw, listen, get units() { return units; } };
})();
