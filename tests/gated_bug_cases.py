"""Bugs of one term in cells with gates, for test_gradcheck.py: {name: (case, file, replacements)}."""

GATED_BUGS = {
    "the state's way through the candidate is lost": (
        "eLSTM",
        "cells/elstm.py",
        [
            (
                "f + q_z * w_z + q_f * w_f, q_z, q_f\n\n\n@protocol.forward",
                "f + q_f * w_f, q_z, q_f\n\n\n@protocol.forward",
            )
        ],
    ),
    "the state's way through the gate is lost": (
        "eLSTM",
        "cells/elstm.py",
        [
            (
                "f + q_z * w_z + q_f * w_f, q_z, q_f\n\n\n@protocol.forward",
                "f + q_z * w_z, q_z, q_f\n\n\n@protocol.forward",
            )
        ],
    ),
    "the gate's share has the wrong sign": ("eLSTM", "cells/elstm.py", [("q_f = -f * change", "q_f = f * change")]),
    "the candidate's slope is linear": (
        "eLSTM",
        "cells/elstm.py",
        [("opened * (one - z * z)", "opened * (one - z)")],
    ),
    "an own weight multiplies the new state": (
        "eLSTM",
        "cells/elstm.py",
        [("own.dh_dw_f[i] + q_f[i] * h_tm1", "own.dh_dw_f[i] + q_f[i] * h[i]")],
    ),
    "reverse mode multiplies an own weight by the new state": (
        "eLSTM",
        "cells/elstm.py",
        [("work.ddrive1[i] * state_tm1.h[i]", "work.ddrive1[i] * record.state.h[i]")],
    ),
    "own weights take the share of the biases": (
        "eLSTM",
        "cells/elstm.py",
        [("contract_pair(memory.sensitivities.own, memory", "contract_pair(memory.sensitivities.biases, memory")],
    ),
    "own weights of candidate and gate are exchanged": (
        "eLSTM",
        "cells/elstm.py",
        [("(w_z, w_f), (b_z, b_f), h, keep = params.own,", "(w_f, w_z), (b_z, b_f), h, keep = params.own,")],
    ),
    "the gate's slope is that of the identity": (
        "gated RTU",
        "cells/gate.py",
        [("shut[i] = like(q, 1.0) - q", "shut[i] = like(q, 1.0)")],
    ),
    "the gate does not reach the phase": (
        "gated RTU",
        "cells/gate.py",
        [
            ("(dlog_r * turned1 - dtheta * turned2 + dgamma", "(dlog_r * turned1 + dgamma"),
            ("(dlog_r * turned2 + dtheta * turned1 + dgamma", "(dlog_r * turned2 + dgamma"),
        ],
    ),
    "the gate does not reach the input's scale": (
        "gated RTU",
        "cells/gate.py",
        [("+ dtheta * turned1 + dgamma * work.scratch2[i])", "+ dtheta * turned1)")],
    ),
    "the phase's derivative ignores the gate": (
        "gated RTU",
        "cells/gate.py",
        [("rotation.dtheta[i] = angle", "rotation.dtheta[i] = exp(theta_log[i])")],
    ),
    "the rate's derivative ignores the gate": (
        "gated RTU",
        "cells/gate.py",
        [("rotation.dlog_r[i] = -rate", "rotation.dlog_r[i] = -exp(nu_log[i])")],
    ),
    "a slope of the gate's bias is missing": (
        "gated RTU",
        "cells/gate.py",
        [("gate.dc2_db_g[i] *= slope2[i]", "gate.dc2_db_g[i] *= 1")],
    ),
    "a gate's weights take the share of the other part": (
        "gated RTU",
        "cells/gate.py",
        [("memory.p2[i] * e1 + memory.by2[i] * x_j", "memory.p2[i] * e1 + memory.by1[i] * x_j")],
    ),
    "reverse mode forgets the gate's way to the phase": (
        "gated RTU",
        "cells/gate.py",
        [("dgate[i] = shut[i] * (work.da[i] + work.db[i])", "dgate[i] = shut[i] * work.da[i]")],
    ),
    "the input's gradient through the gate's second part is lost": (
        "gated RTU",
        "cells/gate.py",
        [("dgate[i] = memory.by1[i] * d1[i] + memory.by2[i] * d2[i]", "dgate[i] = memory.by1[i] * d1[i]")],
    ),
}
