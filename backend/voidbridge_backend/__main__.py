"""Makes `python -m voidbridge_backend` the command `voidbridge`."""

import sys

from .cli import main

sys.exit(main())
