"""Inputs for calibration where there are no data: noise whose spectrum falls like a photograph's.

The amplitude of natural images falls about as 1/f with the spatial frequency f (Field, 1987), so
noise of that spectrum excites the filters of a trained network in much the right proportion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SHARED, _OWN = 0.8, 0.6
"""Weights of what all channels share and of what each has alone; their squares add up to 1."""


def natural_noise(
    count: int,
    shape: tuple[int, ...],
    rng: np.random.Generator,
    *,
    mean: float = 0.0,
    deviation: float = 1.0,
) -> NDArray[np.float32]:
    """Synthetic inputs (count, *shape) float32.

    shape: of one input; (C, H, W) gives 1/f noise whose channels correlate as those of a colour
        picture do, any other shape white noise.
    mean, deviation: of the values, as the network expects its inputs. Brightness and contrast
        vary from one input to the next.
    """
    if len(shape) != 3:
        white = rng.standard_normal((count, *shape))
        return np.asarray(mean + deviation * white, np.float32)
    channels, height, width = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    # The mean has no frequency of its own; it gets the weight of the longest wave.
    frequency[0, 0] = 1 / max(height, width)
    inputs = np.empty((count, *shape), np.float32)
    for index in range(count):
        waves = rng.standard_normal((2, channels + 1, *frequency.shape))
        planes = np.fft.irfft2((waves[0] + 1j * waves[1]) / frequency, s=(height, width))
        mixed = _SHARED * planes[:1] + _OWN * planes[1:]
        mixed -= mixed.mean(axis=(1, 2), keepdims=True)
        spread = mixed.std(axis=(1, 2), keepdims=True)
        mixed /= np.where(spread > 0, spread, 1.0)
        brightness, contrast = 0.6 * rng.standard_normal(), rng.uniform(0.5, 1.2)
        inputs[index] = mean + deviation * (brightness + contrast * mixed)
    return inputs


def noise_like(
    inputs: NDArray[np.float32], count: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Noise in the shape of some inputs (N, C, H, W), with their mean and deviation."""
    mean, deviation = float(inputs.mean()), float(inputs.std())
    return natural_noise(count, inputs.shape[1:], rng, mean=mean, deviation=deviation)
