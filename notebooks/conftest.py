"""What nbval compares in these notebooks: the printed text, strictly; not the drawing instructions.

Plotly's JSON and the HTML form of a table restate numbers that the text beside them shows, together with layout and
markup that change with each release of plotly and pandas. The sanitize file cannot help: nbval applies it to text only.
"""

import nbval.kernel
import pytest

NOT_COMPARED = ("application/vnd.plotly.v1+json", "text/html")


@pytest.hookimpl(hookwrapper=True)
def pytest_collect_file():
    outcome = yield
    for collected in outcome.get_result():
        if hasattr(collected, "skip_compare"):
            collected.skip_compare = (*collected.skip_compare, *NOT_COMPARED)


# A kernel's ports are chosen free and bound a moment later: what runs beside the tests may take one, and the kernel dies
# before it answers. nbval's items take no fixtures, so its way of starting one is replaced here.
_start = nbval.kernel.start_new_kernel


def _started(*args, **kwargs):
    for _ in range(2):
        try:
            return _start(*args, **kwargs)
        except RuntimeError as error:
            if "Kernel died before replying" not in str(error):
                raise
    return _start(*args, **kwargs)


nbval.kernel.start_new_kernel = _started
