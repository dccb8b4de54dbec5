"""Run the exam: methods read organisms, investigators turn the evidence into a claim, Inspect keeps the log."""
