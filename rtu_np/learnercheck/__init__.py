"""Check a learner's whole update, step by step."""

from rtu_np.learnercheck.check import check_learner
from rtu_np.learnercheck.report import TOLERANCE, LearnerReport, PartCheck

__all__ = ["TOLERANCE", "LearnerReport", "PartCheck", "check_learner"]
