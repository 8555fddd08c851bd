"""Bugs in learners of predictions, and what `check_learner` says of each: {name: Bug}."""

from learner_cases import Bug

from rtu_np.learnercheck import mistakes as known

TD, OPTIMIZERS, INPUTS = "prediction/td_kernels.py", "learning/optimizers.py", "prediction/inputs.py"
MANY, REGRESSION = "prediction/td_many_network.py", "prediction/regressor_kernels.py"
FORGET = "        clear_memory(spec.cell, memory, network.flat_memory)\n"
CLEAR = FORGET + "        clear(network.flat_traces)\n    return v_t, delta"
LEARN = """    protocol.learn(spec.cell, params.cell, traces.cell, memory, decay, step)
    readout.learn(spec.readout, params.readout, traces.readout, network.activations, memory.y, decay, step)
"""
DECAY = "return network.traces, discount * network.dy.dtype.type(spec.lambda_)"

PREDICTION_BUGS = {
    # ------------------------------------------------------------------------------------------------------ TD(lambda)
    "traces stay at an end": Bug(
        "TD(lambda), SGD",
        TD,
        [(CLEAR, FORGET + "    return v_t, delta")],
        "traces.cell",
        known.TRACES_STAY,
    ),
    "memory is left after truncation": Bug(
        "TD(lambda), SGD",
        TD,
        [
            (
                CLEAR,
                CLEAR.replace("clear_memory", "if time_step.end == TERMINATED: clear_memory"),
            )
        ],
        "memory.state",
        "memory.state, memory.y: it is not set to zero at steps that are truncated",
    ),
    "a truncated step does not bootstrap": Bug(
        "TD(lambda), SGD",
        TD,
        [
            (
                "    if time_step.end == TERMINATED:\n        v_t = zero",
                "    if time_step.end != CONTINUES:\n        v_t = zero",
            )
        ],
        "params.cell",
        known.TRUNCATED_AS_END,
    ),
    "a terminated step bootstraps": Bug(
        "TD(lambda), ObGD",
        TD,
        [("    if time_step.end == TERMINATED:\n        v_t = zero", "    if False:\n        v_t = zero")],
        "returned",
        known.END_BOOTSTRAPS,
    ),
    "the first step of an episode is learned from": Bug(
        "TD(lambda), Adam",
        TD,
        [
            ("if time_step.known and not time_step.first:", "if time_step.known:"),
            ("if not time_step.first and (time_step.known or", "if (time_step.known or"),
        ],
        "params.cell",
        known.FIRST_LEARNS,
    ),
    "the gradient enters the traces before the update": Bug(
        "TD(lambda), SGD",
        TD,
        [
            (
                LEARN,
                LEARN.replace("decay, step)", "decay, None)")
                + "    optimizers.take_step(SGDSpec(0.01), network.flat_params, network.flat_traces, None, delta)\n",
            ),
            (
                "    params, memory = network.params, network.memory\n    step",
                (
                    "    from rtu_np.learning.optimizers import SGDSpec\n"
                    "\n"
                    "    params, memory = network.params, network.memory\n"
                    "    step"
                ),
            ),
        ],
        "params.cell",
        known.NEW_TRACE,
    ),
    "traces decay without the discount": Bug(
        "TD(lambda), SGD",
        "learning/network.py",
        [(DECAY, DECAY.replace("discount * ", ""))],
        "traces.cell",
        known.NO_GAMMA,
    ),
    "traces decay without lambda": Bug(
        "TD(lambda), SGD",
        "learning/network.py",
        [(DECAY, DECAY.replace(" * network.dy.dtype.type(spec.lambda_)", ""))],
        "traces.cell",
        known.NO_LAMBDA,
    ),
    "the TD error's sign": Bug(
        "TD(lambda), SGD",
        TD,
        [
            (
                "delta = time_step.cumulant + time_step.discount * v_t - v_tm1",
                "delta = v_tm1 - time_step.cumulant - time_step.discount * v_t",
            )
        ],
        "params.cell",
        known.SIGN,
    ),
    "gamma where the step has a discount of its own": Bug(
        "TD(lambda), SGD",
        "prediction/td.py",
        [
            (
                (
                    '                self.gamma if discount is None else check_number("discount", discount, '
                    "interval=(0.0, 1.0))\n"
                    "            )"
                ),
                "                self.gamma\n            )",
            )
        ],
        "params.cell",
        "",
    ),
    "a step without a cumulant moves Adam's moments": Bug(
        "TD(lambda), Adam, gaps",
        TD,
        [("if not time_step.first and (time_step.known or _carries_traces(optimizer)):", "if not time_step.first:")],
        "params.cell",
        "params.cell.nu_log, params.cell.theta_log, params.cell.W1, params.cell.W2, params.readout.w",
    ),
    # ------------------------------------------------------------------------------------------------------ optimisers
    "Adam's moments are not corrected": Bug(
        "TD(lambda), Adam",
        OPTIMIZERS,
        [("real(spec.step_size) / correction1, one / correction2", "real(spec.step_size), one")],
        "params.cell",
        known.NO_CORRECTION,
    ),
    "Adam's epsilon stands under the root": Bug(
        "TD(lambda), Adam",
        OPTIMIZERS,
        [("(np.sqrt(square * per_correction2) + epsilon)", "np.sqrt(square * per_correction2 + epsilon)")],
        "params.cell",
        "",
    ),
    "RMSProp divides by the old mean square": Bug(
        "TD(lambda), RMSProp",
        OPTIMIZERS,
        [
            (
                (
                    "        moments.square[k] = square\n"
                    "        params[k] += alpha * gradient / (np.sqrt(square) + epsilon)"
                ),
                (
                    "        params[k] += alpha * gradient / (np.sqrt(moments.square[k]) + epsilon)\n"
                    "        moments.square[k] = square"
                ),
            )
        ],
        "params.cell",
        known.OLD_MOMENT,
    ),
    "ObGD's bound takes |delta| below 1": Bug(
        "TD(lambda), ObGD",
        OPTIMIZERS,
        [
            (
                "bound = alpha * kappa * max(abs(delta), one) * norm1(traces)",
                "bound = alpha * kappa * abs(delta) * norm1(traces)",
            )
        ],
        "params.cell",
        known.BOUND,
    ),
    "ObGD's norm lacks the first weight": Bug(
        "TD(lambda), ObGD",
        OPTIMIZERS,
        [
            (
                "    for k in range(a.shape[0]):\n        total += abs(a[k])",
                "    for k in range(1, a.shape[0]):\n        total += abs(a[k])",
            )
        ],
        "params.cell",
        "",
    ),
    "AdaptiveObGD averages z², not (delta z)²": Bug(
        "TD(lambda), AdaptiveObGD",
        "learning/adaptive.py",
        [("step = delta * traces[k]", "step = traces[k]")],
        "params.cell",
        "",
    ),
    "Adaptive averages z², not g²": Bug(
        "TD(lambda), Adaptive",
        "learning/adaptive.py",
        [("(one - fade) * g * g", "(one - fade) * z * z")],
        "params.cell",
        "",
    ),
    "Intentional's mean forgets nothing": Bug(
        "TD(lambda), Intentional",
        "learning/intentional.py",
        [("s[_COUNT] = fade * s[_COUNT] + one", "s[_COUNT] = s[_COUNT] + one")],
        "params.cell",
        "",
    ),
    "TIDBD's h takes the unbounded step": Bug(
        "TD(lambda), TIDBD",
        "learning/autostep.py",
        [
            (
                "kept = max(min(one - bound * reach * gradient[k], one), zero)",
                "kept = max(min(one - reach * gradient[k], one), zero)",
            )
        ],
        "moments.rule.by_log",
        "",
    ),
    "Autostep normalises by the old scale": Bug(
        "TD(lambda), Autostep",
        "learning/autostep.py",
        [
            ("        scale = max(abs(meta), scale + a", "        old, scale = scale, max(abs(meta), scale + a"),
            (
                "exponent = max(min(mu * meta / max(scale, smallest_normal(scale))",
                "exponent = max(min(mu * meta / max(old, smallest_normal(scale))",
            ),
        ],
        "params.cell",
        "",
    ),
    "SwiftTD keeps the new h as the old": Bug(
        "TD(lambda), SwiftTD",
        "learning/swift_td.py",
        [("        m.h_old[k] = h\n", "        m.h_old[k] = m.h[k]\n")],
        "moments.readout.h_old",
        "",
    ),
    "a block's traces take the network's lambda": Bug(
        "TD(lambda), SwiftTD",
        "learning/parts.py",
        [("z.dtype.type(part.lambda_)", "z.dtype.type(0.8)")],
        "params.readout",
        "",
    ),
    # ----------------------------------------------------------------------------------------------------- normalisers
    "an observation is normalised before it is in the statistics": Bug(
        "TD(lambda), normalised",
        INPUTS,
        [
            (
                "            _include(spec, stats, i, value)\n        _write(rows, stats, memory, i, value)\n",
                (
                    "        _write(rows, stats, memory, i, value)\n"
                    "        if value == value:\n"
                    "            _include(spec, stats, i, value)\n"
                ),
            )
        ],
        "inputs.x",
        known.LATE,
    ),
    "an observation is clipped behind the statistics": Bug(
        "TD(lambda), normalised",
        INPUTS,
        [
            (
                "            value = _clipped(spec, stats, i, value)\n            _include(spec, stats, i, value)\n",
                "            _include(spec, stats, i, value)\n            value = _clipped(spec, stats, i, value)\n",
            )
        ],
        "inputs.mean",
        "",
    ),
    "the statistics forget too fast": Bug(
        "TD(lambda), normalised",
        INPUTS,
        [("stats.squares[i] = spec.keep * spec.keep *", "stats.squares[i] = spec.keep *")],
        "inputs.squares",
        "",
    ),
    # ------------------------------------------------------------------------------------------------ many predictions
    "the ratio does not decay the traces": Bug(
        "many predictions, SGD",
        MANY,
        [("decays[j] = ratio * (discount * lambda_)", "decays[j] = discount * lambda_")],
        "traces.cell",
        known.RATIO_LEFT,
    ),
    "ObGD's kappa is that of one prediction": Bug(
        "many predictions, ObGD",
        "prediction/td_many.py",
        [("rule = rule._replace(kappa=m * rule.kappa)", "rule = rule._replace(kappa=rule.kappa)")],
        "params.cell",
        known.OWN_KAPPA,
    ),
    "the first prediction's decay for all": Bug(
        "many predictions, SGD",
        MANY,
        [("_decay_row(z.w[j], n.decays[j], y)", "_decay_row(z.w[j], n.decays[0], y)")],
        "traces.readout",
        "",
    ),
    # ------------------------------------------------------------------------------------------------------ regression
    "a target enters its scale too late": Bug(
        "regression",
        REGRESSION,
        [
            (
                (
                    "            targets.include(views.scale, j, target[j] - base[j], column == NONE)\n"
                    "            y = o.dtype.type(targets.standardize(task.loss, views.scale, j, target[j], "
                    "base[j]))\n"
                ),
                (
                    "            y = o.dtype.type(targets.standardize(task.loss, views.scale, j, target[j], "
                    "base[j]))\n"
                    "            targets.include(views.scale, j, target[j] - base[j], column == NONE)\n"
                ),
            )
        ],
        "params.cell",
        known.LATE_SCALE,
    ),
    "changes are centred": Bug(
        "regression of changes",
        REGRESSION,
        [("target[j] - base[j], column == NONE)", "target[j] - base[j], True)")],
        "params.readout",
        known.NOT_ABOUT_ZERO,
    ),
    "the body that predicts remembers the last stretch": Bug(
        "regression, 2 rows ahead",
        REGRESSION,
        [("    clear(delayed.flat_forward)\n", "    pass\n")],
        "delayed.state",
        "delayed.state: it is not set to zero at the end of an episode",
    ),
    "a row is learned one row too early": Bug(
        "regression, 2 rows ahead",
        REGRESSION,
        [("    if clock[FILLED] == delay.horizon:\n", "    if clock[FILLED] >= delay.horizon - 1:\n")],
        "params.readout",
        "params.readout.W, params.readout.b, memory.state, memory.y: it changes, though no",
    ),
    "Huber's limit on one side only": Bug(
        "regression, huber",
        "prediction/targets.py",
        [("max(min(y - o, like(o, 1.0)), like(o, -1.0))", "min(y - o, like(o, 1.0))")],
        "params.cell",
        "",
    ),
}
