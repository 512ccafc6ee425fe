"""`python -m neve` is `neve`."""

import sys

from neve.cli.main import main

sys.exit(main())
