"""narrowbench: grow model organisms with a known narrow objective, and score how much of it a diffing method recovers.

Four rooms, imported in one direction only: `organisms` (grow them) <- `graders` (mark the exam) <- `benchmark` (run the
exam) <- `leaderboard` (publish the marks). Start with `narrowbench demo`, or read `cli.py`.
"""

__version__ = "0.1.0"
