"""Pictures become inputs: presets, TOML files, and every setting that can't be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.data import DEVIATION, MEAN, normalise
from edgekit.errors import DataError
from edgekit.preprocess import (
    PRESETS,
    Preprocess,
    default_preprocess,
    from_dict,
    make_preprocess,
    prepare,
)

COLOUR = (1, 3, 224, 224)


def test_the_imagenet_preset_keeps_224_of_256() -> None:
    settings = make_preprocess("imagenet", COLOUR)

    assert (settings.width, settings.height, settings.resize) == (224, 224, 256)
    assert settings.mean == (0.485, 0.456, 0.406)
    assert settings.shape == (3, 224, 224)


def test_pixels_are_scaled_channel_by_channel() -> None:
    settings = make_preprocess("imagenet", (0, 3, 2, 2))
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)

    found = prepare(pixels, settings)

    expected = (pixels[1, 0, 2] / 255 - 0.406) / 0.225
    assert found.dtype == np.float32
    assert found[2, 1, 0] == pytest.approx(expected, rel=1e-6)


def test_the_fashion_preset_is_the_normalisation_of_the_data_set() -> None:
    settings = make_preprocess("fashion-mnist", (1, 1, 28, 28))
    image = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)

    found = prepare(image, settings)

    assert (settings.mean, settings.std) == ((MEAN,), (DEVIATION,))
    np.testing.assert_array_equal(found, normalise(image[None])[0])


def test_blue_first_turns_the_channels_around() -> None:
    settings = Preprocess(1, 1, None, "bgr", (0.0,) * 3, (1.0,) * 3)

    found = prepare(np.array([[[255, 0, 51]]], np.uint8), settings)

    np.testing.assert_allclose(found[:, 0, 0], [0.2, 0, 1], rtol=1e-6)


def test_colours_become_grey_by_their_brightness() -> None:
    settings = make_preprocess("unit", (1, 1, 1, 1))

    found = prepare(np.array([[[255, 0, 0]]], np.uint8), settings)

    assert found[0, 0, 0] == pytest.approx(0.299)


def test_grey_pixels_fill_three_channels() -> None:
    found = prepare(np.array([[255]], np.uint8), make_preprocess("symmetric", (1, 3, 1, 1)))

    np.testing.assert_allclose(found[:, 0, 0], [1, 1, 1])


def test_channels_last_is_seen_from_the_shape() -> None:
    settings = make_preprocess("bytes", (1, 5, 4, 3))

    found = prepare(np.full((5, 4, 3), 7, np.uint8), settings)

    assert settings.layout == "nhwc"
    assert found.shape == (5, 4, 3)
    np.testing.assert_allclose(found, 7, rtol=1e-6)


@pytest.mark.parametrize("preset", PRESETS)
def test_settings_survive_the_manifest(preset: str) -> None:
    shape = (1, 1, 28, 28) if preset == "fashion-mnist" else COLOUR
    settings = make_preprocess(preset, shape)

    assert from_dict(settings.to_dict()) == settings


def test_a_toml_file_overrides_its_preset(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('preset = "imagenet"\nresize = 232\nchannels = "bgr"\n')

    settings = make_preprocess(path, COLOUR)

    assert (settings.resize, settings.channels) == (232, "bgr")
    assert settings.std == (0.229, 0.224, 0.225)


def test_a_toml_file_gives_the_sizes_that_a_model_leaves_open(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text("width = 96\nheight = 64\nresize = 0\n")

    settings = make_preprocess(path, (0, 3, 0, 0))

    assert (settings.shape, settings.resize) == ((3, 64, 96), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resise = 256", "did you mean 'resize'"),
        ("mean = 'dark'", "mean must be numbers"),
        ("mean = [0.5, 0.5]", "mean must be 3 numbers for rgb"),
        ("std = 0", "std above 1e-06"),
        ("mean = 1e39", r"within 1e\+06"),
        ("width = -3", "width must be 1 to 16384 pixels, got -3"),
        ("width = true", "width must be 1 to 16384 pixels, got True"),
        ("width = 100", "the model takes"),
        ("resize = 100", "leaves no 224x224 centre"),
        ("channels = 'cmyk'", "channels must be one of rgb, bgr, gray"),
        ("layout = 'chw'", "layout must be one of nchw, nhwc"),
        ("preset = 'imagenets'", "no preset 'imagenets'"),
        ("mean = nan", "mean must be numbers"),
        ("width = ", "isn't TOML"),
    ],
)
def test_settings_that_cannot_be_used_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)

    with pytest.raises(DataError, match=message) as caught:
        make_preprocess(path, COLOUR)

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"can't read .*none\.toml"):
        make_preprocess(tmp_path / "none.toml", COLOUR)


def test_open_sizes_ask_for_a_file() -> None:
    with pytest.raises(DataError, match="height and width are open"):
        make_preprocess("unit", (0, 3, 0, 0))


def test_the_colour_preset_refuses_one_channel() -> None:
    with pytest.raises(DataError, match="is for colour"):
        make_preprocess("imagenet", (1, 1, 28, 28))


@pytest.mark.parametrize("shape", [(1, 10), (1, 5, 28, 28), ()])
def test_what_is_no_picture_has_no_default(shape: tuple[int, ...]) -> None:
    assert default_preprocess(shape) is None


def test_pixels_of_another_size_are_refused() -> None:
    with pytest.raises(DataError, match="expected 224x224 pixels"):
        prepare(np.zeros((4, 4, 3), np.uint8), make_preprocess("unit", COLOUR))


def test_a_record_with_another_set_of_settings_is_refused() -> None:
    with pytest.raises(DataError, match="needs the settings"):
        from_dict({"width": 3})
