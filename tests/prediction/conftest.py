"""Predictors for the tiny bundle, with and without a lung network, loaded once."""

import shutil
from dataclasses import replace

import pytest
from lung_network import add_lungs


@pytest.fixture(scope="session")
def predictor(micro_bundle):
    from xray_core import Predictor

    return Predictor.load(micro_bundle)


@pytest.fixture(scope="session")
def lungs_predictor(lungs_classifier):
    """A predictor with a lung network whose check of the features accepts any image."""
    return accepting_all(lungs_classifier)


@pytest.fixture(scope="session")
def cropping_predictor(micro_bundle, lung_bundle, tmp_path_factory):
    """The same model for crops to the lungs with a margin of a quarter."""
    folder = shutil.copytree(micro_bundle, tmp_path_factory.mktemp("cropping") / "micro")
    return accepting_all(add_lungs(folder, lung_bundle, lung_margin=0.25))


def accepting_all(folder):
    from xray_core import Predictor

    predictor = Predictor.load(folder)
    predictor.gate = replace(predictor.gate, caution=1e9, refuse=2e9)
    return predictor
