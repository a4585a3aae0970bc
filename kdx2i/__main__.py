"""`python -m kdx2i` is the command `kdx2i`, run by the workflow's warm server where there is one."""

import sys

from kdx2i.warm import delegate

if __name__ == "__main__":
    try:
        status = delegate(sys.argv[1:])
        if status is None:
            from kdx2i.cli import main

            status = main()
    except KeyboardInterrupt:  # before the command could take care of it
        print("interrupted", file=sys.stderr)
        status = 130
    raise SystemExit(status)
