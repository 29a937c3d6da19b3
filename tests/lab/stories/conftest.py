from tests.lab.stories.stage import lab_stage

__all__ = ["lab_stage"]
