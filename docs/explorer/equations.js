"use strict";

/* One linear recurrent trace unit with one input and no activation. Numbers in brackets are equations of
   docs/derivations.md. Nothing here draws: tests/test_explorer.py calls these functions in a browser and compares what
   they return with rtu_np.

   A pair [c1, c2] stands for c1 + i c2. The unit has four parameters: the two numbers that store its eigenvalue, and
   its weights W1 and W2. Lists of effects and of sensitivities are in this order. */
window.rtu = (() => {
  const SLOWEST = 1e-4, FASTEST = 10; // bounds of nu while a unit learns (52)
  const LONGEST = 0.9999; // the largest r that the page offers
  const TURN = 2 * Math.PI;

  // ---------------------------------------------------------------------------------------------- the unit

  function made(r, theta, nu, gamma) {
    return { r, theta, nu, gamma, g: r * Math.cos(theta), p: r * Math.sin(theta) };
  }

  /* The unit whose pole is r e^(i theta), with 0 <= r < 1 (4), (6). */
  function unit(r, theta) {
    return made(r, theta, -Math.log(r), Math.sqrt((1 - r) * (1 + r)));
  }

  /* The unit that stores the logarithms of nu and theta (5), (6). */
  function storedUnit(nuLog, thetaLog) {
    const nu = Math.exp(nuLog);
    return made(Math.exp(-nu), Math.exp(thetaLog), nu, Math.sqrt(-Math.expm1(-2 * nu)));
  }

  const turned = (u, c) => [u.g * c[0] - u.p * c[1], u.g * c[1] + u.p * c[0]]; // lambda c
  const turnedBack = (u, b) => [u.g * b[0] + u.p * b[1], u.g * b[1] - u.p * b[0]]; // its transpose (17)
  const plus = (a, b) => [a[0] + b[0], a[1] + b[1]];
  const times = (a, b) => a[0] * b[0] + a[1] * b[1];

  /* The next state (4). */
  function step(u, W, c, x) {
    return plus(turned(u, c), [u.gamma * W[0] * x, u.gamma * W[1] * x]);
  }

  /* How g, p and gamma change with the two stored numbers: (26) for "r/theta", (9) and (10) for the logarithms. */
  const FORMS = {
    "r/theta": (u) => [
      { g: Math.cos(u.theta), p: Math.sin(u.theta), gamma: -u.r / u.gamma },
      { g: -u.p, p: u.g, gamma: 0 },
    ],
    "nu_log/theta_log": (u) => {
      const nu = u.r > 0 ? u.nu : 0; // nu r goes to 0 with r
      return [
        { g: -nu * u.g, p: -nu * u.p, gamma: (nu * u.r * u.r) / u.gamma },
        { g: -u.theta * u.p, p: u.theta * u.g, gamma: 0 },
      ];
    },
  };

  /* The direct effect of each parameter on this step: the first four terms of (11), with (12) and (13). */
  function effects(u, changes, W, c, x) {
    const ofPole = changes.map((d) => [
      d.g * c[0] - d.p * c[1] + d.gamma * W[0] * x,
      d.g * c[1] + d.p * c[0] + d.gamma * W[1] * x,
    ]);
    return [...ofPole, [u.gamma * x, 0], [0, u.gamma * x]];
  }

  /* A step of RTRL: sensitivities turn and shrink as the state does, and take in the direct effects (11). */
  function carried(u, e, direct) {
    return e.map((each, k) => plus(turned(u, each), direct[k]));
  }

  /* The gradient of a . c_t, forward in time (15). */
  function forwardGradient(a, e) {
    return e.map((each) => times(a, each));
  }

  /* The gradient of a . c_t, backward over the last `window` steps of `past` (17), (29). A step of the past is the
     state before it, and its input. */
  function backwardGradient(u, changes, W, past, a, window) {
    let b = a, gradient = [0, 0, 0, 0];
    for (let s = past.length - 1; s >= Math.max(0, past.length - window); s--) {
      const direct = effects(u, changes, W, past[s].c, past[s].x);
      gradient = gradient.map((sum, k) => sum + times(b, direct[k]));
      b = turnedBack(u, b);
    }
    return gradient;
  }

  const fresh = () => [[0, 0], [0, 0], [0, 0], [0, 0]];

  // ------------------------------------------------------------------------------------------- what is drawn

  /* Steps until half is forgotten, and steps of a full turn. A turn by theta is one by theta - 2 pi. */
  function clock(r, theta) {
    const angle = ((theta % TURN) + TURN) % TURN;
    const shorter = Math.min(angle, TURN - angle);
    return {
      halfLife: r > 0 ? Math.LN2 / -Math.log(r) : 0,
      period: shorter > 1e-12 ? TURN / shorter : Infinity,
      backwards: angle > Math.PI + 1e-12,
    };
  }

  /* The state after an input of 1 at step 0, with W1 = 1 and W2 = 0, for steps 0 to n - 1; and its length. */
  function impulse(r, theta, n) {
    const u = unit(r, theta), out = { c1: [], c2: [], envelope: [] };
    for (let t = 0, c = [0, 0]; t < n; t++) {
      c = step(u, [1, 0], c, t === 0 ? 1 : 0);
      out.c1.push(c[0]);
      out.c2.push(c[1]);
      out.envelope.push(u.gamma * r ** t);
    }
    return out;
  }

  /* The sensitivities of that state to the two numbers of a form of FORMS, by RTRL: {a: {c1, c2}, b: {c1, c2}}. */
  function sensitivities(r, theta, n, form) {
    const u = unit(r, theta), changes = FORMS[form](u), W = [1, 0];
    const out = { a: { c1: [], c2: [] }, b: { c1: [], c2: [] } };
    for (let t = 0, c = [0, 0], e = fresh(); t < n; t++) {
      const x = t === 0 ? 1 : 0, direct = effects(u, changes, W, c, x);
      c = step(u, W, c, x);
      e = carried(u, e, direct);
      [out.a, out.b].forEach((each, k) => {
        each.c1.push(e[k][0]);
        each.c2.push(e[k][1]);
      });
    }
    return out;
  }

  /* What an input k steps ago counts in the gradient of v_t = c1 by the weights (the length of its share, for an input
     of 1, relative to that of the present input), for k = 0 to n - 1; and in the traces of TD(lambda), which shrink by
     `decay` a step (20). */
  function credit(r, theta, n, window, decay) {
    const u = unit(r, theta), changes = FORMS["r/theta"](u), W = [1, 0], a = [1, 0], past = [];
    const out = { rtrl: [], tbptt: [], rtrlTrace: [], tbpttTrace: [] };
    let c = [0, 0], e = fresh(), z = [0, 0], zCut = [0, 0];
    const size = (weights) => Math.hypot(...weights) / u.gamma;
    for (let k = 0; k < n; k++) {
      const x = k === 0 ? 1 : 0, direct = effects(u, changes, W, c, x);
      past.push({ c, x });
      c = step(u, W, c, x);
      e = carried(u, e, direct);
      const whole = forwardGradient(a, e).slice(2);
      const cut = backwardGradient(u, changes, W, past, a, window).slice(2);
      z = plus([decay * z[0], decay * z[1]], whole);
      zCut = plus([decay * zCut[0], decay * zCut[1]], cut);
      out.rtrl.push(size(whole));
      out.tbptt.push(size(cut));
      out.rtrlTrace.push(size(z));
      out.tbpttTrace.push(size(zCut));
    }
    return out;
  }

  // ------------------------------------------------------------------------------------------------ learning

  /* A unit learns to bridge a gap. Each trial starts with a clear memory. The input is 1 at step 0 and 0 afterwards;
     the target of v = a . c at step `gap` is 1. There, and only there, all parameters take a step along the gradient of
     v, with ObGD of step size 1 and kappa 2 (21). `window` is the T of T-BPTT, or Infinity for RTRL. */
  class Bridge {
    constructor({ r, theta, gap, window, learnsReadout }) {
      this.gap = gap;
      this.window = window;
      this.learnsReadout = learnsReadout;
      this.stored = [Math.log(-Math.log(r)), Math.log(theta)];
      this.W = [1, 0];
      this.readout = [1, 0];
      this.errors = []; // (1 - v)^2 of each trial
      this.path = []; // [r, theta] before each trial, and now
      this.confine();
      this.begin();
    }

    /* Bring the eigenvalue back into its bounds (52), and a phase above 4 pi into the turn below (53). */
    confine() {
      const [nuLog, thetaLog] = this.stored;
      let theta = Math.max(Math.exp(thetaLog), SLOWEST);
      while (theta > 2 * TURN) theta -= TURN;
      this.stored = [Math.min(Math.max(nuLog, Math.log(SLOWEST)), Math.log(FASTEST)), Math.log(theta)];
      this.unit = storedUnit(...this.stored);
      this.path.push([this.unit.r, this.unit.theta]);
    }

    begin() {
      this.t = -1; // the latest step
      this.c = [0, 0];
      this.e = fresh();
      this.past = [];
    }

    /* One step of time; at the end of the gap, one step of learning. Returns v. */
    step() {
      if (this.t === this.gap) this.begin();
      this.t += 1;
      const x = this.t === 0 ? 1 : 0, changes = FORMS["nu_log/theta_log"](this.unit);
      if (this.window === Infinity) {
        this.e = carried(this.unit, this.e, effects(this.unit, changes, this.W, this.c, x));
      } else {
        this.past.push({ c: this.c, x });
      }
      this.c = step(this.unit, this.W, this.c, x);
      const v = times(this.readout, this.c);
      if (this.t === this.gap) this.learn(v, changes);
      return v;
    }

    learn(v, changes) {
      const gradient =
        this.window === Infinity
          ? forwardGradient(this.readout, this.e)
          : backwardGradient(this.unit, changes, this.W, this.past, this.readout, this.window);
      if (this.learnsReadout) gradient.push(...this.c);
      const delta = 1 - v, length = gradient.reduce((sum, each) => sum + Math.abs(each), 0);
      const eta = delta / Math.max(1, 2 * Math.max(Math.abs(delta), 1) * length);
      const moved = [...this.stored, ...this.W, ...this.readout].map((w, k) => w + eta * (gradient[k] ?? 0));
      this.stored = moved.slice(0, 2);
      this.W = moved.slice(2, 4);
      this.readout = moved.slice(4);
      this.errors.push(delta * delta);
      this.confine();
    }

    /* v at each step of a trial with the present parameters. */
    response() {
      const out = [];
      for (let t = 0, c = [0, 0]; t <= this.gap; t++) {
        c = step(this.unit, this.W, c, t === 0 ? 1 : 0);
        out.push(times(this.readout, c));
      }
      return out;
    }
  }

  return { LONGEST, TURN, clock, impulse, sensitivities, credit, Bridge };
})();
