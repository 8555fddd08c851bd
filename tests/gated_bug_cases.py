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
}
