"""All that a job loads, machine code too: importing this loads it, in the one process that workers are copied from.

Nothing here reads a file of quotes: that starts threads, which a copy would lack.
"""

import gc
import importlib

from delta_arb.optimize import first_calls

for name in ("delta_arb.universe.look", "pandas"):
    importlib.import_module(name)
first_calls.research()
gc.freeze()  # no copy looks through it, which would copy the pages; ending takes half a second less
