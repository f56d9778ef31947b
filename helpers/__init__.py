"""Models, data, scores and pictures of the report."""

import os

# A thread that waits for others goes to sleep instead of spinning. Set before torch is loaded:
# on a busy machine spinning threads stall training (docs/performance.md).
os.environ.setdefault("GOMP_SPINCOUNT", "0")
