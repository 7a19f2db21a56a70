"""Few inputs are converted by the kernels of many here, except where a test says how many there must be."""

import pytest

from cimemu.engines import choose


@pytest.fixture(autouse=True, scope="module")
def tables_from_the_first_input():
    with pytest.MonkeyPatch.context() as patch:
        for name in choose.PAYS_FROM:
            patch.setitem(choose.PAYS_FROM, name, 1)
        yield
