"""`python -m hmdrn`, which `torchrun -m hmdrn train ...` needs."""

import sys

from hmdrn.start import main

sys.exit(main())
