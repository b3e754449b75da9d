"""``python -m snakeway`` is the command line."""

import sys

from snakeway.cli import main

sys.exit(main())
