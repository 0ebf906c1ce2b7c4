"""An endpoint through MLServer, a server of the Open Inference Protocol that others wrote."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from auditor.errors import ModelError
from auditor.subjects.endpoint.opening import fingerprint
from auditor.subjects.spec import Load
from auditor.subjects.torch_subject import TorchSubject

SHAPE, CLASSES = (1, 4, 4), tuple(f"class {i}" for i in range(5))
ROWS = {"shape": SHAPE, "classes": CLASSES}
Opened = Callable[..., Any]  # gives a BlackBoxSubject
X = np.random.default_rng(1).random((600, *SHAPE), np.float32)


def net(seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 5))


SAME = TorchSubject(net(0), classes=5, shape=SHAPE).predict(X)


@pytest.fixture(scope="module")
def server(serve_nets: Callable[..., Any]) -> Any:  # a ModelServer, whose class lives in conftest.py
    models = {"flat": ("scores", [-1, 16]), "images": ("scores", [-1, 1, 4, 4]), "unsaid": ("scores", None)}
    models |= {"labels": ("labels", None), "names": ("names", None), "wide": ("scores", [-1, 99])}
    return serve_nets(net(0), models)


@pytest.mark.parametrize("model", ["flat", "images", "unsaid"])
def test_a_served_net_predicts_what_it_predicts_here(server: Any, model: str, opened: Opened) -> None:
    served = opened(server.url, model=model, **ROWS)
    assert np.abs(served.predict(X) - SAME).max() < 1e-5
    assert np.abs(served.predict(X[:1]) - SAME[:1]).max() < 1e-5


@pytest.mark.parametrize("model", ["labels", "names"])
def test_served_labels_are_those_predicted_here(server: Any, model: str, opened: Opened) -> None:
    served = opened(server.url, model=model, outputs="labels", **ROWS)
    assert served.predict(X).argmax(axis=1).tolist() == SAME.argmax(axis=1).tolist()
    assert served.access == {"labels"}


def test_the_version_may_be_part_of_the_address(server: Any, opened: Opened) -> None:
    served = opened(f"{server.url}/v2/models/flat/versions/v1/infer", **ROWS)
    assert np.abs(served.predict(X[:9]) - SAME[:9]).max() < 1e-5


def test_what_the_server_refuses_is_said_in_its_own_words(server: Any, opened: Opened) -> None:
    with pytest.raises(
        ModelError, match="status 404: Model nut not found; the server has the models flat, images, lab"
    ):
        opened(server.url, model="nut", **ROWS)
    with pytest.raises(ModelError, match=r"takes inputs of shape \[-1, 99\] as 'x'; the data's rows are \[1, 4, 4\]"):
        opened(server.url, model="wide", **ROWS)
    with pytest.raises(ModelError, match="status 400: this net takes 16 features, not 17"):
        opened(server.url, model="unsaid", shape=(17,)).predict(np.zeros((1, 17), np.float32))


def test_a_net_replaced_behind_its_address_has_another_fingerprint(
    serve_nets: Callable[..., Any], opened: Opened
) -> None:
    server = serve_nets(net(0), {"net": ("scores", None)})
    load = Load(format="endpoint", url=server.url)
    first = fingerprint(load, X[:8])
    assert fingerprint(load, X[:8]) == first
    server.replace("net", net(1))
    assert fingerprint(load, X[:8]) != first
    server.replace("net", net(0))
    assert fingerprint(load, X[:8]) == first
    assert np.abs(opened(server.url, **ROWS).predict(X[:9]) - SAME[:9]).max() < 1e-5  # the one model, found
