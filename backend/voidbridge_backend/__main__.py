"""`python -m voidbridge_backend` is the command `voidbridge`."""

import sys

from .cli import main

sys.exit(main())
