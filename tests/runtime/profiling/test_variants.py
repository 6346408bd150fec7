from __future__ import annotations

import time
from types import SimpleNamespace

from hmdrn_runtime.profiling.timing import TimingPlan
from hmdrn_runtime.profiling.variants import measure_variants


def test_every_variant_has_its_own_latency():
    def take(seconds):
        return SimpleNamespace(classify=lambda source: time.sleep(seconds))

    plan = TimingPlan(0.01, 3, 0.0)
    latencies = measure_variants({"fp32": take(0.004), "int8-ort": take(0.001)}, b"", plan)
    assert list(latencies) == ["fp32", "int8-ort"]
    assert latencies["fp32"].p50 >= 4
    assert 1 <= latencies["int8-ort"].p50 < latencies["fp32"].p50
