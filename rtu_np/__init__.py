"""Online learning with recurrent trace units and real-time recurrent learning, in NumPy and Numba."""

from rtu_np.cells.linear_rtu import LinearRTU
from rtu_np.cells.nonlinear_rtu import NonlinearRTU
from rtu_np.gradcheck import check_gradients
from rtu_np.gradients.rtrl import RTRL
from rtu_np.optimizers import SGD, Adam, ObGD, RMSProp
from rtu_np.td import TDLambda

__all__ = ["RTRL", "SGD", "Adam", "LinearRTU", "NonlinearRTU", "ObGD", "RMSProp", "TDLambda", "check_gradients"]
