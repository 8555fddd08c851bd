"""Bugs in agents, and what `check_learner` says of each: {name: Bug}."""

from learner_cases import Bug

from rtu_np.learnercheck import mistakes as known

ACTOR, Q, AGENT_INPUTS = "control/actor_critic_kernels.py", "control/q_lambda_kernels.py", "control/inputs.py"

CONTROL_BUGS = {
    "an agent normalises before the statistics": Bug(
        "Q(lambda)",
        AGENT_INPUTS,
        [
            (
                (
                    "    if spec.normalize_observations:\n"
                    "        normalizers.include(statistics.observation, observation)\n"
                    "    normalize(spec, statistics, observation, previous, x)\n"
                ),
                (
                    "    normalize(spec, statistics, observation, previous, x)\n"
                    "    if spec.normalize_observations:\n"
                    "        normalizers.include(statistics.observation, observation)\n"
                ),
            )
        ],
        "inputs.x",
        known.LATE,
    ),
    "the return runs on behind the end": Bug(
        "actor-critic",
        "learning/normalizers.py",
        [("    if done:\n        stats.G", "    if False:\n        stats.G")],
        "inputs.return.G",
        known.DONE_LATE,
    ),
    # ---------------------------------------------------------------------------------------------------- actor-critic
    "the entropy lacks the sign of the TD error": Bug(
        "actor-critic", ACTOR, [(" * real(np.sign(delta))", "")], "actor.params.cell", known.NO_SIGN
    ),
    "the entropy is left out": Bug(
        "actor-critic, continuous",
        ACTOR,
        [("real(1), along_entropy, activations.do)", "real(1), real(0), activations.do)")],
        "actor.params.policy",
        known.NO_ENTROPY,
    ),
    "the actor steps before its trace is complete": Bug(
        "actor-critic",
        ACTOR,
        [
            (
                (
                    "    traces, decay = _accumulate_body(spec, a)\n"
                    "    heads.accumulate(a.memory.y, a.activations.do, decay, traces.readout)\n"
                    "    optimizers.take_step(spec.actor.optimizer, a.flat_params, a.flat_traces, a.moments, "
                    "delta)\n"
                ),
                (
                    "    optimizers.take_step(spec.actor.optimizer, a.flat_params, a.flat_traces, a.moments, "
                    "delta)\n"
                    "    traces, decay = _accumulate_body(spec, a)\n"
                    "    heads.accumulate(a.memory.y, a.activations.do, decay, traces.readout)\n"
                ),
            )
        ],
        "actor.params.policy",
        known.OLD_TRACE,
    ),
    "only the critic forgets": Bug(
        "actor-critic",
        ACTOR,
        [("    clear_memory(spec.cell, a.memory, a.flat_memory)\n    clear(a.flat_traces)\n", "    pass\n")],
        "actor.traces.cell",
        (
            "actor.traces.policy.W, actor.traces.policy.b, actor.memory.state, actor.memory.y: it is "
            "not set to zero at the end"
        ),
    ),
    "a shared body bootstraps behind the end": Bug(
        "actor-critic, shared body",
        ACTOR,
        [("    if time_step.end == TERMINATED:\n        v_t = real(0)\n", "")],
        "params.cell",
        known.END_BOOTSTRAPS,
    ),
    "a shared body's gradient lacks the value's part": Bug(
        "actor-critic, shared body",
        ACTOR,
        [("        a.dy[i] += activations.dy[i]\n", "        pass\n")],
        "params.cell",
        "",
    ),
    "a continuous action is not clipped": Bug(
        "actor-critic, continuous",
        AGENT_INPUTS,
        [("min(max(action[DRAWN, i], bounds[LOWEST, i]), bounds[HIGHEST, i])", "action[DRAWN, i]")],
        "action",
        "",
    ),
    # -------------------------------------------------------------------------------------------------- Q(lambda), QRC
    "traces are not cut at exploration": Bug(
        "Q(lambda)",
        Q,
        [("return real(spec.inputs.gamma) if greedy else real(0)", "return real(spec.inputs.gamma)")],
        "traces.cell",
        known.NOT_CUT,
    ),
    "a truncated step of Q(lambda) does not bootstrap": Bug(
        "Q(lambda)",
        Q,
        [
            (
                "v_t = real(0) if time_step.end == TERMINATED else o[best]",
                "v_t = real(0) if time_step.end != CONTINUES else o[best]",
            )
        ],
        "params.cell",
        known.TRUNCATED_AS_END,
    ),
    "the target is not the largest value": Bug(
        "Q(lambda)",
        Q,
        [("time_step.end == TERMINATED else o[best]", "time_step.end == TERMINATED else o[0]")],
        "params.value",
        known.NOT_LARGEST,
    ),
    "the last reward is not learned from": Bug(
        "Q(lambda)",
        Q,
        [
            (
                "        if not time_step.first:\n            optimizers.take_step(",
                "        if False:\n            optimizers.take_step(",
            )
        ],
        "params.cell",
        (
            "params.cell.nu_log, params.cell.W1, params.cell.W2, params.value.W, params.value.b: it "
            "does not change at the end"
        ),
    ),
    "exploration where greed is drawn": Bug(
        "Q(lambda)",
        "control/exploration.py",
        [("if noise[_WHETHER] < epsilon:", "if noise[_WHETHER] >= epsilon:")],
        "action",
        "",
    ),
    "QRC without the gradient of the target": Bug(
        "QRC(lambda)",
        Q,
        [("real(0) if time_step.end == TERMINATED else e * real(spec.inputs.gamma)", "real(0)")],
        "q.params.cell",
        known.NO_TARGET_GRADIENT,
    ),
    "QRC without h times the gradient": Bug(
        "QRC(lambda)",
        Q,
        [("_direction_of_q(delta, along_next, e - h,", "_direction_of_q(delta, along_next, e,")],
        "q.params.value",
        known.NO_H,
    ),
    "the second estimator is not regularised": Bug(
        "QRC(lambda)",
        Q,
        [("- h * gradient[k] - beta * params[k]", "- h * gradient[k]")],
        "h.params.cell",
        known.NO_BETA,
    ),
    "the second estimator's traces are not cut": Bug(
        "QRC(lambda)",
        Q,
        [
            (
                "    _finish(spec.h, c, time_step, decay)\n",
                "    _finish(spec.h, c, time_step, time_step.x.dtype.type(0.9 * 0.8))\n",
            )
        ],
        "h.traces.cell",
        "",
    ),
    "the second estimator moves on before its step": Bug(
        "QRC(lambda)",
        Q,
        [
            (
                (
                    "    _direction_of_h(delta, h, beta, n.flat_traces, c.flat_gradient, n.flat_params, "
                    "c.flat_direction)\n"
                    "    protocol.advance(spec.h.cell, n.params.cell, n.memory, time_step.x)\n"
                    "    _output_gradient(spec.h, flat, action, c.flat_gradient)\n"
                ),
                (
                    "    protocol.advance(spec.h.cell, n.params.cell, n.memory, time_step.x)\n"
                    "    _output_gradient(spec.h, flat, action, c.flat_gradient)\n"
                    "    _direction_of_h(delta, h, beta, n.flat_traces, c.flat_gradient, n.flat_params, "
                    "c.flat_direction)\n"
                ),
            )
        ],
        "h.params.cell",
        "",
    ),
    "e runs on behind the end": Bug(
        "QRC(lambda)",
        Q,
        [("e if decay != 0 and time_step.end == CONTINUES else real(0)", "e if decay != 0 else real(0)")],
        "e",
        "e: it changes, though no change is expected",
    ),
}
