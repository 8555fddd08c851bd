"""Bugs in PPO and in wrapped phases, and what `check_learner` says of each: {name: Bug}."""

from learner_cases import Bug

from rtu_np.learnercheck import mistakes as known

LOSS, UPDATE, ROLLOUT = "control/ppo/loss.py", "control/ppo/update.py", "control/ppo/rollout.py"
CELL = "params.cell"

PPO_BUGS = {
    # ---------------------------------------------------------------------------------------------------------- acting
    "sensitivities run on behind a reset": Bug(
        "PPO",
        ROLLOUT,
        [
            (
                "    if first:\n        clear(now.flat_memory)\n",
                "    if first:\n        for part in now.memory.state:\n            clear(part)\n",
            )
        ],
        "rollout.sensitivities.cell.nu_log",
        "",
    ),
    "a transition is stored behind its step": Bug(
        "PPO",
        ROLLOUT,
        [
            (
                (
                    "    _store(spec, now.memory, r, rounded, now.scratch, t)\n"
                    "    protocol.advance(spec.cell, params.cell, now.memory, now.x)\n"
                ),
                (
                    "    protocol.advance(spec.cell, params.cell, now.memory, now.x)\n"
                    "    _store(spec, now.memory, r, rounded, now.scratch, t)\n"
                ),
            )
        ],
        "rollout.states",
        "",
    ),
    "truncation bootstraps from its own step": Bug(
        "PPO",
        ROLLOUT,
        [
            (
                "r.bootstraps[t] = bootstrap_value(spec, a.learned.params, now.memory.state, now, now.x)",
                "r.bootstraps[t] = r.values[t]",
            )
        ],
        "rollout.bootstraps",
        known.OWN_VALUE,
    ),
    # --------------------------------------------------------------------------------------------------------- targets
    "an advantage goes on across an end": Bug(
        "PPO",
        LOSS,
        [
            ("following, advantage = real(0), real(0)", "following = real(0)"),
            ("following, advantage = bootstraps[t], real(0)", "following = bootstraps[t]"),
        ],
        "rollout.advantages",
        known.ACROSS_END,
    ),
    "an advantage sees behind a termination": Bug(
        "PPO",
        LOSS,
        [("if ends[t] == TERMINATED:", "if ends[t] == TERMINATED + 9:")],
        "rollout.advantages",
        known.END_BOOTSTRAPS,
    ),
    "advantages are normalised over the rollout": Bug(
        "PPO",
        UPDATE,
        [("order, start, start + per, self._moments)", "order, 0, order.size, self._moments)")],
        CELL,
        known.OVER_ROLLOUT,
    ),
    # ------------------------------------------------------------------------------------------------------------ loss
    "PPO's entropy has the wrong sign": Bug(
        "PPO", LOSS, [("-real(s.entropy_coef) * share", "real(s.entropy_coef) * share")], CELL, known.ENTROPY_SIGN
    ),
    "the ratio is clipped on the wrong side": Bug(
        "PPO", LOSS, [("if unclipped <= clipped else", "if unclipped >= clipped else")], CELL, ""
    ),
    "a value is not clipped": Bug("PPO", LOSS, [("if abs(moved) > width:", "if False:")], CELL, known.VALUE_FREE),
    "a lone transition has no past": Bug(
        "PPO", LOSS, [("for q in range(fours, n):", "for q in range(fours, n - 1):")], CELL, known.NO_PAST
    ),
    "four transitions have no past": Bug(
        "PPO, one minibatch", LOSS, [("for q in range(0, fours, 4):", "for q in range(0, 0):")], CELL, known.NO_PAST
    ),
    "a sequence sees behind the start of an episode": Bug(
        "PPO, T-BPTT",
        "cells/sequences.py",
        [("dy[row], back)\n            if sequences.starts[row] != 0:", "dy[row], back)\n            if False:")],
        CELL,
        "",
    ),
    # ---------------------------------------------------------------------------------------------------------- update
    "each epoch has the minibatches of the first": Bug(
        "PPO",
        UPDATE,
        [("order = self._rng", "order = order if epoch else self._rng")],
        CELL,
        known.SAME_ORDER,
    ),
    "a minibatch is used twice": Bug(
        "PPO", UPDATE, [("self._gradient_of(order, start, per)", "self._gradient_of(order, 0, per)")], CELL, ""
    ),
    "a long gradient stays long": Bug(
        "PPO", UPDATE, [("-limit / norm if norm > limit else -1.0", "-1.0")], CELL, known.LONG_GRADIENT
    ),
    "PPO's Adam starts without its correction": Bug(
        "PPO",
        "learning/optimizers.py",
        [("real(spec.step_size) / correction1, one / correction2", "real(spec.step_size), one")],
        CELL,
        known.NO_CORRECTION,
    ),
    "a refresh starts without a memory": Bug(
        "PPO, refreshed",
        ROLLOUT,
        [("copy(r.memory, now.flat_memory)", "clear(now.flat_memory)")],
        "rollout.values",
        "",
    ),
    "a refresh changes values alone": Bug(
        "PPO, refreshed", ROLLOUT, [("        if states:\n", "        if False:\n")], "rollout.states", ""
    ),
    # --------------------------------------------------------------------------------------------------- wrapped phases
    "a wrap leaves traces as they are": Bug(
        "TD(lambda), a wrapped phase",
        "learning/network.py",
        [("for gradient in (network.flat_traces, *named.gradients):", "for gradient in named.gradients:")],
        "traces.cell",
        "",
    ),
    "a wrap leaves moments as they are": Bug(
        "TD(lambda), a wrapped phase",
        "learning/network.py",
        [("    optimizers.rescale(passes.spec_of(spec.optimizer), moments, flat)\n", "")],
        "moments.mean",
        "",
    ),
    "a wrap leaves sensitivities as they are": Bug(
        "TD(lambda), a wrapped phase",
        "learning/network.py",
        [("    protocol.rescale(spec.cell, network.params.cell, network.memory, factors.cell)\n", "")],
        "traces.cell",
        "",
    ),
    "a wrap leaves a stored gradient as it is": Bug(
        "QRC(lambda), a wrapped phase",
        "learning/network.py",
        [("for gradient in (network.flat_traces, *named.gradients):", "for gradient in (network.flat_traces,):")],
        "q.gradient",
        "",
    ),
    "a wrap leaves the rollout as it is": Bug(
        "PPO, a wrapped phase",
        UPDATE,
        [("            protocol.rescale(cell, known.params.cell, stored, factors.cell)\n", "")],
        CELL,
        "",
    ),
    "a wrap leaves the memory of PPO as it is": Bug(
        "PPO, a wrapped phase",
        UPDATE,
        [("protocol.rescale(cell, known.params.cell, views, factors.cell)", "pass")],
        "rollout.sensitivities.cell.theta_log",
        "",
    ),
}
