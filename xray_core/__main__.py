"""Run `xray_core.cli`: `python -m xray_core COMMAND`."""

import sys

from xray_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
