"""Stage 1 of the paper: data-free distillation from the teacher's style-mixed triplets."""
