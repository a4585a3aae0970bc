"""The stages of the workflow, one module each: they join the rooms, write the outputs and their provenance."""
