"""Images to be scored, from disk or memory, and their features kept by pixels."""
