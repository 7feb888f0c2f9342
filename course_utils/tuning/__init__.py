"""Searches for hyperparameters that survive being killed, and are shared by several processes."""

from course_utils.tuning.study import open_study, run_trials
