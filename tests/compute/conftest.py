"""Few inputs are converted by the kernels of many here, except where a test says how many there must be."""

import pytest

from cimemu.engines import programmed as macro


@pytest.fixture(autouse=True, scope="module")
def tables_from_the_first_input():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(macro, "PLANES_INPUTS", 1)
        patch.setattr(macro, "LOOKUP_INPUTS", 1)
        yield
