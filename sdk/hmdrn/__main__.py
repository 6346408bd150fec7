"""`python -m hmdrn`, which `torchrun -m hmdrn train ...` needs."""

import sys

from hmdrn.cli import main

sys.exit(main())
