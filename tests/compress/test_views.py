"""Views of pictures: of their shape and range, the same ones every time, in both layouts."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.compress.views import Views, has_views


def test_views_are_parts_of_their_pictures_enlarged() -> None:
    # Brightness rises by 1 a row and by 100 a column, so that every value tells its place.
    rows, columns = np.meshgrid(np.arange(32.0), np.arange(48.0), indexing="ij")
    picture = (rows + 100 * columns).astype(np.float32)
    pictures = np.stack([np.stack([picture, 2 * picture, 3 * picture])] * 20)

    views = Views(pictures, 0)[:]

    assert views.shape == pictures.shape
    assert views.dtype == np.float32
    np.testing.assert_allclose(views[:, 1], 2 * views[:, 0], rtol=1e-5)
    inner = views[:, 0, 1:-1, 1:-1]
    down, across = np.diff(inner, axis=1), np.diff(inner, axis=2)
    for view, step, side in zip(inner, down[:, 0, 0], across[:, 0, 0], strict=True):
        assert picture.min() <= view.min() <= view.max() <= picture.max()
        # One share of both sides, from 0.6 to the whole; a mirror turns columns around.
        assert 0.58 < step <= 1.01
        assert abs(side) / 100 == pytest.approx(step, abs=0.03)
    np.testing.assert_allclose(down, down[:, :1, :1] * np.ones_like(down), atol=0.02)
    is_mirrored = across[:, 0, 0] < 0
    assert 3 < is_mirrored.sum() < 17


def test_a_view_is_the_same_however_it_is_cut(rng: np.random.Generator) -> None:
    pictures = rng.normal(size=(7, 3, 9, 9)).astype(np.float32)
    views = Views(pictures, 5)

    whole = views[:]

    assert len(views) == 7
    np.testing.assert_array_equal(np.concatenate([views[:2], views[2:7]]), whole)
    assert not np.array_equal(Views(pictures, 6)[:], whole)


def test_views_of_pictures_with_their_channels_last(rng: np.random.Generator) -> None:
    pictures = rng.normal(size=(5, 3, 10, 12)).astype(np.float32)

    last = Views(np.ascontiguousarray(pictures.transpose(0, 2, 3, 1)), 1)[:]

    np.testing.assert_array_equal(last, Views(pictures, 1)[:].transpose(0, 2, 3, 1))


def test_the_smallest_pictures_have_views() -> None:
    pictures = np.ones((3, 1, 1, 2), np.float16)

    views = Views(pictures, 0)[:]

    assert views.dtype == np.float16
    np.testing.assert_array_equal(views, pictures)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 3, 8, 8), True),
        ((5, 8, 8, 1), True),
        ((5, 16, 8, 8), False),
        ((5, 3), False),
        ((5, 3, 8), False),
    ],
)
def test_what_has_views(shape: tuple[int, ...], *, expected: bool) -> None:
    assert has_views(shape) is expected
