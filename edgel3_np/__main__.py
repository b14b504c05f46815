"""`python -m edgel3_np`."""

import sys

from .cli import main

sys.exit(main())
