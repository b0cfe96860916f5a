"""Other views of pictures: parts of them, enlarged and half of them in a mirror.

They tell more about a network than few pictures do. Random resized crops with flips are what
networks are trained on (Szegedy et al., 2015, "Going deeper with convolutions", section 6), so that
none of them is strange to such a network.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SMALLEST = 0.6
"""Side of a part, relative to the picture's; the largest is the whole."""
_COLOURS = (1, 3)


class Views:
    """A view of each picture, drawn when it is asked for; cut like an array, along N.

    pictures: (N, C, H, W) or (N, H, W, C), floating-point numbers, of 1 or 3 channels. seed: of
    the parts that are chosen.
    """

    def __init__(self, pictures: NDArray[np.floating[Any]], seed: int) -> None:
        self._pictures = pictures
        self._seed = seed

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, chosen: slice) -> NDArray[np.floating[Any]]:
        """Views of some pictures, in an array of their own."""
        places = range(*chosen.indices(len(self)))
        return np.stack([self._view(place) for place in places])

    def _view(self, place: int) -> NDArray[np.floating[Any]]:
        rng = np.random.default_rng([self._seed, place])
        picture = self._pictures[place]
        first = 1 if picture.shape[0] in _COLOURS else 0
        share = rng.uniform(_SMALLEST, 1)
        for axis in (first, first + 1):
            size = picture.shape[axis]
            side = max(1, round(share * size))
            picture = _enlarged(picture, axis, int(rng.integers(size - side + 1)), side)
        return np.flip(picture, first + 1) if rng.random() < 0.5 else picture


def has_views(shape: tuple[int, ...]) -> bool:
    """Whether inputs of a shape, (N, ...), are pictures that can be seen otherwise."""
    return len(shape) == 4 and (shape[1] in _COLOURS or shape[3] in _COLOURS)


def _enlarged(
    picture: NDArray[np.floating[Any]], axis: int, start: int, side: int
) -> NDArray[np.floating[Any]]:
    """The part from `start` on of one axis, as long as the whole of it, by linear interpolation."""
    size = picture.shape[axis]
    places = np.clip((np.arange(size) + 0.5) * (side / size) - 0.5, 0, side - 1)
    before = places.astype(np.intp)
    after = np.minimum(before + 1, side - 1)
    share = (places - before).astype(picture.dtype)
    share = share.reshape([-1 if one == axis else 1 for one in range(picture.ndim)])
    low, high = (picture.take(start + ends, axis) for ends in (before, after))
    return np.asarray(low + share * (high - low), picture.dtype)
