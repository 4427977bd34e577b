"""A predictor for the tiny bundle, loaded once."""

import pytest


@pytest.fixture(scope="session")
def predictor(micro_bundle):
    from xray_core import Predictor

    return Predictor.load(micro_bundle)
