from tests.faults.fixtures import sent, toy, toy_kinds

__all__ = ["sent", "toy", "toy_kinds"]
