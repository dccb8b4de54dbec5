"""Mark the exam: claims in, scores out. Imports nothing but `organisms.spec` and errors."""
