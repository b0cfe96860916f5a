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
    "alexnet": (60_965_224, 724_406_816),
    "channel_table": (1_080_090, 157_730_048),
    "clcnet_a": (3_253_640, 342_973_440),
    "clcnet_b": (4_085_128, 424_559_616),
    "googlenet": (6_998_552, 1_582_671_872),
    "mobilenet": (4_231_976, 568_740_352),
    "mobilenet_conv": (29_294_088, 4_867_293_184),
    "mobilenet_fashion": (159_754, 9_137_728),
    "mobilenet_shallow": (2_887_976, 307_323_392),
    "mobilenetv2": (3_504_872, 300_774_272),
    "mobilenetv2_fashion": (243_914, 13_241_184),
    "pyramidnet110": (28_485_477, 4_717_983_724),
    "resnet101": (44_549_160, 7_570_194_432),
    "resnet152": (60_192_808, 11_282_415_616),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet20": (272_474, 40_813_184),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 3_857_973_248),
    "resnext101": (83_455_272, 15_460_270_080),
    "resnext50": (25_028_904, 4_230_479_872),
    "shufflenet": (1_865_728, 137_460_672),
    "shufflenet_fashion": (52_426, 4_652_304),
    "shufflenet_se": (8_349_136, 526_925_184),
    "squeezenet1_0": (1_248_424, 818_924_576),
    "squeezenet1_0_complex": (1_589_672, 1_165_298_720),
    "squeezenet1_0_simple": (1_248_424, 818_924_576),
    "squeezenet1_1": (1_235_496, 349_151_936),
    "squeezenet_fashion": (313_706, 22_717_184),
    "vgg16": (138_357_544, 15_470_264_320),
    "wide_resnet28_10": (36_479_194, 5_243_328_768),
    "wide_resnet50_2": (68_883_240, 11_398_021_120),
    "xception": (22_855_952, 8_357_403_496),
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


@pytest.mark.parametrize("name", ["squeezenet_fashion", "mobilenetv2_fashion"])
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
    with pytest.raises(edgekit_models.UnknownNetworkError, match="known: alexnet, channel_table, "):
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
