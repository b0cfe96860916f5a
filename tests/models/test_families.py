"""The networks against a library's, and the ways in which they vary."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import edgekit_models
from edgekit_models.shufflenet import shufflenet

# Name here, name in pytorchcv. Left out is its MobileNetV2, whose last layer has no bias.
JUDGED = {
    "alexnet": "alexnet",
    "mobilenet": "mobilenet_w1",
    "pyramidnet110": "pyramidnet110_a270_cifar10",
    "resnet101": "resnet101",
    "resnet152": "resnet152",
    "resnet18": "resnet18",
    "resnet20": "resnet20_cifar10",
    "resnet34": "resnet34",
    "resnet50": "resnet50",
    "resnext101": "resnext101_64x4d",
    "resnext50": "resnext50_32x4d",
    "shufflenet": "shufflenet_g3_w1",
    "squeezenet1_0": "squeezenet_v1_0",
    "squeezenet1_0_simple": "squeezeresnet_v1_0",
    "squeezenet1_1": "squeezenet_v1_1",
    "vgg16": "vgg16",
    "wide_resnet28_10": "wrn28_10_cifar10",
    "wide_resnet50_2": "wrn50_2",
    "xception": "xception",
}
# Its AlexNet has one column, its Wide ResNet-50 biases in BatchNorm's place.
VARIANTS: dict[str, dict[str, object]] = {
    "alexnet": {"groups": 1},
    "wide_resnet50_2": {"normalised": False},
}


@pytest.mark.parametrize("name", sorted(JUDGED))
def test_a_network_counts_as_the_librarys(name: str) -> None:
    provider = pytest.importorskip("pytorchcv.model_provider")
    shape = (3, 224, 224) if name == "alexnet" else edgekit_models.spec(name).input_shape
    with torch.device("meta"):
        ours = edgekit_models.build(name, **VARIANTS.get(name, {}))
        theirs = provider.get_model(JUDGED[name], pretrained=False)

    own = edgekit_models.count_totals(ours, edgekit_models.spec(name).input_shape)
    judged = edgekit_models.count_totals(theirs, shape)

    assert (own.weights, own.biases, own.trainable) == (
        judged.weights,
        judged.biases,
        judged.trainable,
    )
    if name != "alexnet":
        # The library's AlexNet pads its first layer for another input size.
        assert (own.conv, own.fc) == (judged.conv, judged.fc)


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 8])
def test_shufflenet_counts_as_the_librarys_in_every_group_count(groups: int) -> None:
    provider = pytest.importorskip("pytorchcv.model_provider")
    with torch.device("meta"):
        ours = shufflenet(groups=groups)
        theirs = provider.get_model(f"shufflenet_g{groups}_w1", pretrained=False)

    own, judged = (edgekit_models.count_totals(net, (3, 224, 224)) for net in (ours, theirs))

    assert own == judged


@pytest.mark.parametrize(
    ("name", "variant", "judge"),
    [
        ("mobilenet", {"width": 0.75}, "mobilenet_w3d4"),
        ("mobilenet", {"width": 0.5}, "mobilenet_wd2"),
        ("mobilenet", {"width": 0.25}, "mobilenet_wd4"),
        ("shufflenet", {"groups": 1, "scale": 0.5}, "shufflenet_g1_wd2"),
        ("shufflenet", {"groups": 3, "scale": 0.5}, "shufflenet_g3_wd2"),
        ("shufflenet", {"groups": 1, "scale": 0.25}, "shufflenet_g1_wd4"),
        ("shufflenet", {"groups": 3, "scale": 0.25}, "shufflenet_g3_wd4"),
    ],
)
def test_a_narrower_form_counts_as_the_librarys(
    name: str, variant: dict[str, object], judge: str
) -> None:
    provider = pytest.importorskip("pytorchcv.model_provider")
    with torch.device("meta"):
        ours = edgekit_models.build(name, **variant)
        theirs = provider.get_model(judge, pretrained=False)

    own, judged = (edgekit_models.count_totals(net, (3, 224, 224)) for net in (ours, theirs))

    assert own == judged


def test_shufflenet_refuses_a_group_count_that_the_paper_lacks() -> None:
    with pytest.raises(ValueError, match="choose from 1, 2, 3, 4, 8"):
        shufflenet(groups=5)


@pytest.mark.parametrize("size", [128, 160, 192])
def test_mobilenet_takes_other_resolutions(size: int) -> None:
    with torch.device("meta"):
        module = edgekit_models.build("mobilenet", width=0.25).eval()

        assert module(torch.empty(2, 3, size, size)).shape == (2, 1000)


@pytest.mark.parametrize(("name", "size"), [("alexnet", 67), ("vgg16", 32), ("vgg16", 64)])
def test_networks_with_linear_layers_take_the_size_they_were_built_for(
    name: str, size: int
) -> None:
    with torch.device("meta"):
        module = edgekit_models.build(name, size=size).eval()

        assert module(torch.empty(1, 3, size, size)).shape == (1, 1000)


def test_bypass_leaves_the_vanilla_network_and_its_names_as_they_were() -> None:
    with torch.device("meta"):
        vanilla = set(edgekit_models.build("squeezenet1_0").state_dict())
        complex_form = edgekit_models.build("squeezenet1_0_complex")

    shortcuts = [
        name
        for name, module in complex_form.named_modules()
        if name.endswith("shortcut") and isinstance(module, nn.Conv2d)
    ]
    assert "features.2.squeeze.conv.weight" in vanilla
    assert shortcuts == [f"features.{index}.shortcut" for index in (2, 4, 7, 9)]


def test_mobilenet_table_2_is_recounted() -> None:
    with torch.device("meta"):
        shares = edgekit_models.count_shares(edgekit_models.build("mobilenet"), (3, 224, 224))

    total = sum(share.multiply_adds for share in shares)
    percent = {share.form: round(100 * share.multiply_adds / total, 2) for share in shares}
    assert percent == {"pointwise": 94.86, "depthwise": 3.06, "3x3": 1.91, "fc": 0.18}
