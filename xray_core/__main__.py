"""`python -m xray_core`: the command line."""

import sys

from xray_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
