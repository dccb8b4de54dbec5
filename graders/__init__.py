"""Mark the exam: claims in, scores out. Imports nothing but `organisms.spec` and errors.

`VERSIONS` are those of the judge-free graders; a change of what a claim scores raises one.
"""

VERSIONS = {"recovery": "1", "detect": "1"}
