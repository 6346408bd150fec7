from __future__ import annotations

import sys
from pathlib import Path

# The benchmarks are no part of the installed package: they are imported as they run, from the checkout.
sys.path.insert(0, str(Path(__file__).parent.parent.parent))
