"""Each network recounts to the integers that its spec states."""

from __future__ import annotations

import hashlib

import pytest
import safetensors.torch
import torch
from torch import Tensor

import edgekit_models
from edgekit_models import mobilenetv2, squeezenet
from edgekit_models.registry import build

EXACT = {
    "squeezenet1_0": (1_248_424, 818_924_576),
    "squeezenet_fashion": (313_706, 22_717_184),
    "mobilenetv2": (3_504_872, 300_774_272),
    "mobilenetv2_fashion": (243_914, 13_241_184),
}


def test_the_expected_networks_are_there() -> None:
    assert edgekit_models.names() == tuple(sorted(EXACT))


@pytest.mark.parametrize("name", sorted(EXACT))
def test_a_network_recounts_to_its_stated_numbers(name: str) -> None:
    spec = edgekit_models.spec(name)
    with torch.device("meta"):
        module = edgekit_models.build(name)

    parameters = edgekit_models.count_parameters(module)
    multiply_adds = edgekit_models.count_multiply_adds(module, spec.input_shape)

    assert (parameters, multiply_adds) == EXACT[name]
    assert (parameters, multiply_adds) == (spec.parameters, spec.multiply_adds)


@pytest.mark.parametrize("name", sorted(EXACT))
def test_a_network_gives_one_logit_a_class(name: str) -> None:
    spec = edgekit_models.spec(name)
    with torch.device("meta"):
        module = edgekit_models.build(name).eval()
        inputs = torch.empty(3, *spec.input_shape)

    assert module(inputs).shape == (3, spec.classes)


@pytest.mark.parametrize("name", [name for name in EXACT if name.endswith("_fashion")])
def test_shipped_weights_fit_their_network_and_their_size_limit(name: str) -> None:
    path = edgekit_models.spec(name).checkpoint_path

    assert path is not None
    assert path.stat().st_size <= 4_000_000
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    edgekit_models.build(name).load_state_dict(safetensors.torch.load_file(path))
    assert hashlib.sha256(path.read_bytes()).hexdigest() in card


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(edgekit_models.UnknownNetworkError, match="did you mean mobilenetv2"):
        edgekit_models.spec("mobilenet_v2")


def test_a_name_like_no_other_lists_all() -> None:
    with pytest.raises(edgekit_models.UnknownNetworkError, match="known: mobilenetv2, "):
        build("zzz")


def test_variants_go_through_to_the_factory() -> None:
    with torch.device("meta"):
        half = edgekit_models.build("mobilenetv2", width=0.5, classes=10)

    # Width 0.5 has 1,968,680 parameters for 1000 classes; each class is 1280 weights and a bias.
    assert edgekit_models.count_parameters(half) == 1_968_680 - 990 * 1281


def test_squeezenet_table_1_is_followed_layer_by_layer() -> None:
    with torch.device("meta"):
        layers = edgekit_models.count_layers(squeezenet.squeezenet1_0(), (3, 224, 224))

    fires = [
        sum(layer.parameters for layer in layers if layer.name.startswith(f"features.{index}."))
        for index in (0, 2, 3, 4, 6, 7, 8, 9, 11)
    ]
    # The '#parameter before pruning' column of table 1, conv1 to fire9.
    assert fires == [14208, 11920, 12432, 45344, 49440, 104880, 111024, 188992, 197184]


def test_torchvision_names_map_onto_every_own_tensor() -> None:
    with torch.device("meta"):
        own = mobilenetv2.mobilenetv2().state_dict()
    published = {_torchvision_name(name): value for name, value in own.items()}

    renamed = mobilenetv2.from_torchvision(published)

    assert len(published) == 314
    assert "features.1.conv.1.weight" in published
    assert "features.2.conv.3.running_mean" in published
    assert set(renamed) == set(own)
    assert all(renamed[name] is own[name] for name in own)


def test_a_state_dict_of_our_own_is_not_renamed() -> None:
    own: dict[str, Tensor] = {"stem.conv.weight": torch.zeros(1)}

    assert mobilenetv2.from_torchvision(own) is own


def _torchvision_name(name: str) -> str:
    """The published scheme, written out the other way round as a judge."""
    part, _, rest = name.partition(".")
    unit = {"conv": "0", "norm": "1"}
    if part == "classifier":
        return f"classifier.1.{rest}"
    if part in {"stem", "head"}:
        kind, _, leaf = rest.partition(".")
        return f"features.{0 if part == 'stem' else 18}.{unit[kind]}.{leaf}"
    index, piece, kind, leaf = rest.split(".")
    number = int(index) + 1
    order = ["depthwise", "project"] if number == 1 else ["expand", "depthwise", "project"]
    place = order.index(piece)
    if piece == "project":
        return f"features.{number}.conv.{place + (kind == 'norm')}.{leaf}"
    return f"features.{number}.conv.{place}.{unit[kind]}.{leaf}"
