"""The one training loop: data order, EMA, precision, distribution, checkpoints, resume, logs, progress."""
