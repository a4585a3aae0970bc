"""`python -m kdx2i` is the command `kdx2i`."""

from kdx2i.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
