"""Train a model that the app can load: `python train.py`, or `python train.py --help`."""

import sys

from xray_core.training.command import main

if __name__ == "__main__":
    sys.exit(main())
