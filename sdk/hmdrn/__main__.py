"""`python -m hmdrn`, which `torchrun -m hmdrn train ...` needs."""

import sys

from hmdrn._entry_points import main

sys.exit(main())
