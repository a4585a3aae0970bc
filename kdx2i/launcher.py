"""torchrun, ending as its processes do where they were asked to stop.

`python -m kdx2i.launcher` takes torchrun's command line. torchrun hands signals on to its processes, but waits only 30
seconds before it kills them, and ends with 1 whatever they end with.
"""

import sys
from collections.abc import Sequence

from torch.distributed import run
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from kdx2i.training.stopping import EXIT_STATUS, SIGNALS

PATIENCE = 600
"""Seconds that the processes have to finish their step and to write a checkpoint."""


def main(words: Sequence[str]) -> int:
    """Run torchrun and return its exit status: that of its processes where they stopped with a checkpoint."""
    signals = ",".join(number.name for number in SIGNALS)
    options = ["--shutdown-timeout", str(PATIENCE), "--signals-to-handle", signals]
    try:
        run.run(run.parse_args([*options, *words]))  # type: ignore[no-untyped-call]
    except SignalException:
        return EXIT_STATUS
    except ChildFailedError as error:
        if {failure.exitcode for failure in error.failures.values()} != {EXIT_STATUS}:
            raise
        return EXIT_STATUS
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
