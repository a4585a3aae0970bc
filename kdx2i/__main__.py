"""The command `kdx2i`, also as `python -m kdx2i`, run by the workflow's warm server where there is one."""

import sys

from kdx2i.warm import delegate


def command() -> int:
    """Run the words of the command line and return the exit status; 130, in one line, for an interruption at any time.

    The libraries are imported in here: an interruption may come before the command could take care of it.
    """
    try:
        status = delegate(sys.argv[1:])
        if status is None:
            from kdx2i.cli import main

            status = main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    return status


if __name__ == "__main__":
    raise SystemExit(command())
