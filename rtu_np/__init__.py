"""Online learning with recurrent trace units and real-time recurrent learning, in NumPy and Numba."""

from rtu_np import checkpoint
from rtu_np.cells.block_diagonal import BlockDiagonalRNN
from rtu_np.cells.dense import Dense, Identity
from rtu_np.cells.elstm import ELSTM
from rtu_np.cells.gated_rtu import GatedRTU
from rtu_np.cells.gru import GRU
from rtu_np.cells.initializers import LecunNormal, Orthogonal, SparseUniform
from rtu_np.cells.layer_norm import LayerNorm
from rtu_np.cells.linear_rtu import LinearRTU
from rtu_np.cells.lru import LRU
from rtu_np.cells.min_gru import MinGRU
from rtu_np.cells.nonlinear_rtu import NonlinearRTU
from rtu_np.cells.own_cell.cell import from_step
from rtu_np.cells.rnn import VanillaRNN
from rtu_np.cells.stack import Stack
from rtu_np.cells.two_layers import TwoLayersSpec  # noqa: F401  its functions are registered by importing it
from rtu_np.control.actor_critic import ActorCritic
from rtu_np.control.callbacks import Checkpoints, Evaluation, continue_run, every
from rtu_np.control.exploration import Epsilon
from rtu_np.control.many import learn_many
from rtu_np.control.policies import Gaussian
from rtu_np.control.ppo.agent import PPO, ppo_network
from rtu_np.control.q_lambda import QRC, QLambda
from rtu_np.control.runs import make_again
from rtu_np.control.softmax import Softmax
from rtu_np.control.streaming import recurrent_network, streaming_network
from rtu_np.costs import bytes_per_step, flops
from rtu_np.gradcheck import check_gradients, gradient_angles
from rtu_np.gradients.own_past import RFLO, SnAp1
from rtu_np.gradients.rtrl import RTRL
from rtu_np.gradients.tbptt import TBPTT
from rtu_np.gradients.uoro import UORO
from rtu_np.learnercheck import check_learner
from rtu_np.learning.adaptive import Adaptive, AdaptiveObGD
from rtu_np.learning.autostep import TIDBD, Autostep
from rtu_np.learning.intentional import Intentional
from rtu_np.learning.optimizers import SGD, Adam, ObGD, RMSProp
from rtu_np.learning.per_block import Blocks, WithLambda
from rtu_np.learning.readout import HiddenReadout, LinearReadout
from rtu_np.learning.swift_td import SwiftTD
from rtu_np.prediction.input_stage import Normalize
from rtu_np.prediction.parallel import run_many
from rtu_np.prediction.regressor import OnlineRegressor
from rtu_np.prediction.td import TDLambda
from rtu_np.prediction.times import discounts_of
from rtu_np.recurrence.check import check_recurrence
from rtu_np.recurrence.exact import bptt, rtrl

__version__ = "0.1.0"
__all__ = [
    "ELSTM",
    "GRU",
    "LRU",
    "PPO",
    "QRC",
    "RFLO",
    "RTRL",
    "SGD",
    "TBPTT",
    "TIDBD",
    "UORO",
    "ActorCritic",
    "Adam",
    "Adaptive",
    "AdaptiveObGD",
    "Autostep",
    "BlockDiagonalRNN",
    "Blocks",
    "Checkpoints",
    "Dense",
    "Epsilon",
    "Evaluation",
    "GatedRTU",
    "Gaussian",
    "HiddenReadout",
    "Identity",
    "Intentional",
    "LayerNorm",
    "LecunNormal",
    "LinearRTU",
    "LinearReadout",
    "MinGRU",
    "NonlinearRTU",
    "Normalize",
    "ObGD",
    "OnlineRegressor",
    "Orthogonal",
    "QLambda",
    "RMSProp",
    "SnAp1",
    "Softmax",
    "SparseUniform",
    "Stack",
    "SwiftTD",
    "TDLambda",
    "VanillaRNN",
    "WithLambda",
    "bptt",
    "bytes_per_step",
    "check_gradients",
    "check_learner",
    "check_recurrence",
    "continue_run",
    "discounts_of",
    "every",
    "flops",
    "from_step",
    "gradient_angles",
    "learn_many",
    "make_again",
    "ppo_network",
    "recurrent_network",
    "rtrl",
    "run_many",
    "streaming_network",
]

checkpoint.offer(globals()[name] for name in __all__)
