"""Official weight files: readers that run none of their code, and what each file becomes."""
