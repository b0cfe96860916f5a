"""Calibration inputs, a fifth of them held back, and what stands beside them where they are few.

Few inputs excite too few directions of what layers see. Noise and the weights' own products then
join their Hessians, and pictures are seen in parts and mirrored too (docs/decisions/0010, 0012).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgekit.compress.calibrate import Probe
from edgekit.compress.layer_statistics import (
    LayerStatistics,
    add_hessians,
    blend_hessians,
    joined,
    layer_statistics,
)
from edgekit.compress.layers_in_turn import Walkers
from edgekit.compress.noise import noise_like
from edgekit.compress.samples import Data, is_pictures
from edgekit.compress.stages import held_from
from edgekit.compress.views import Views, has_views
from edgekit.errors import DataError
from edgekit.graph.layers import Layer

ENOUGH_INPUTS = 256
"""Fewer that aren't held back are few."""
_NOISE_INPUTS = 32
_VIEWS, _VIEWED = 4, 500
"""Views of each picture where pictures are few, and pictures and views together, at the most."""
_IN_TURN_INPUTS, _LARGE_INPUTS = 256, 100
"""That layers are rounded in turn with, at the most; fewer where some layer sees much of each."""
_HELD_BYTES = 64 * 2**20
"""Of what one layer sees of all inputs, in each of the model's two forms, in a walk."""
_SEED = 0

_Statistics = dict[str, LayerStatistics]


class SplitInputs:
    """Inputs of calibration.

    held_back: every fifth of them, which judge. used: the others. is_noise: whether they are noise
    already, and need no more of it beside them.
    """

    def __init__(self, inputs: Data, *, is_noise: bool = False) -> None:
        """Raises DataError for fewer than two, of which none could be held back."""
        if len(inputs) < 2:
            raise DataError(f"calibration needs at least 2 inputs, got {len(inputs)}")
        is_held_back = np.arange(len(inputs)) % 5 == 0
        self.held_back, self.used = inputs[is_held_back], inputs[~is_held_back]
        self.is_noise = is_noise
        self._count = len(inputs)

    @property
    def is_enough(self) -> bool:
        """Whether those that aren't held back excite enough directions by themselves."""
        return not self.is_noise and len(self.used) >= ENOUGH_INPUTS

    def statistics(
        self, probe: Probe, layers: Sequence[Layer], shapes: Mapping[str, tuple[int, ...]]
    ) -> tuple[_Statistics, _Statistics]:
        """What layers see of the inputs that aren't held back, and of all.

        For few pictures a share of noise's joins the Hessians of both. shapes: of weights by name.
        """
        rng = np.random.default_rng(_SEED)

        def seen(inputs: Data | Views) -> _Statistics:
            return layer_statistics(probe, layers, shapes, rng, inputs)

        def seen_in_views_too(inputs: Data) -> _Statistics:
            found = seen(inputs)
            for views in self._views(inputs):
                found = add_hessians(found, seen(views))
            return found

        found = seen_in_views_too(self.used)
        if self.is_enough:
            return found, found
        everything = joined(found, seen_in_views_too(self.held_back))
        if is_pictures(self.used) and not self.is_noise:
            noise = seen(noise_like(self.used, _NOISE_INPUTS, rng))
            share = _NOISE_INPUTS / (_NOISE_INPUTS + len(self.used))
            found = blend_hessians(found, noise, share)
            everything = blend_hessians(everything, noise, share)
        return found, everything

    def walkers(self, inputs: Data, sizes: Sequence[int], batch: int) -> list[Walkers]:
        """Some or all of the inputs, as many as are walked with, and views of few pictures.

        They all join where what a layer sees of them can be held from there on. sizes: bytes that
        each layer sees of one. batch: of inputs, as the model is run; fewer can't be walked with.
        """
        most = min(self._count, _IN_TURN_INPUTS)
        if max(sizes) * most > _HELD_BYTES:
            most = min(most, _LARGE_INPUTS)
        most = max(most, batch)
        if most < len(inputs):
            inputs = inputs[np.diff(np.arange(len(inputs) + 1) * most // len(inputs)) > 0]
        return [
            Walkers(some, held_from(sizes, most * count, _HELD_BYTES))
            for count, some in enumerate((inputs, *self._views(inputs)), 1)
        ]

    def _views(self, inputs: Data) -> list[Views]:
        """Views of pictures, where these are few: one of each, several times."""
        if self.is_enough or self.is_noise:
            return []
        if not is_pictures(inputs) or not has_views(inputs.shape):
            return []
        count = min(_VIEWS, _VIEWED // self._count - 1)
        return [Views(inputs, seed) for seed in range(count)]
