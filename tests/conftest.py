"""What every test module may ask for."""

import pytest

from ermin import _core


@pytest.fixture(params=_core.simd_levels())
def level(request):
    """Each SIMD level of this machine in turn, in force for a test."""
    before = _core.simd_level()
    _core.set_simd_level(request.param)
    yield request.param
    _core.set_simd_level(before)
