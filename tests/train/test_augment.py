"""Flips and shifts keep pixels, move them by what they say, and follow their seed."""

from __future__ import annotations

import torch

from edgekit.train.augment import MAX_SHIFT, flip_and_shift


def moved(inputs: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return flip_and_shift(inputs, torch.Generator().manual_seed(seed), fill=-1.0)


def test_the_shape_stays_and_memory_is_channels_last() -> None:
    outputs = moved(torch.zeros(6, 3, 8, 10))

    assert outputs.shape == (6, 3, 8, 10)
    assert outputs.is_contiguous(memory_format=torch.channels_last)


def test_every_image_is_a_mirrored_or_plain_shift_of_its_own() -> None:
    inputs = torch.rand(64, 2, 8, 8, generator=torch.Generator().manual_seed(3))

    outputs = moved(inputs)

    padded = torch.nn.functional.pad(inputs, (MAX_SHIFT,) * 4, value=-1.0)
    for image, source in zip(outputs, padded, strict=True):
        side = 2 * MAX_SHIFT + 1
        candidates = [
            window.flip(-1) if mirrored else window
            for mirrored in (False, True)
            for top in range(side)
            for left in range(side)
            for window in [source[:, top : top + 8, left : left + 8]]
        ]
        assert any(torch.equal(image, candidate) for candidate in candidates)


def test_about_half_of_the_images_are_mirrored_and_all_shifts_occur() -> None:
    inputs = torch.zeros(4000, 1, 9, 9)
    inputs[:, 0, 4, 3] = 1.0  # one column left of the middle
    inputs[:, 0, 4, 5] = 2.0

    outputs = moved(inputs)

    ones = (outputs[:, 0] == 1.0).nonzero()
    twos = (outputs[:, 0] == 2.0).nonzero()
    mirrored = (ones[:, 2] > twos[:, 2]).float().mean().item()
    assert 0.46 < mirrored < 0.54
    assert set(ones[:, 1].tolist()) == {2, 3, 4, 5, 6}


def test_the_same_seed_gives_the_same_batch() -> None:
    inputs = torch.rand(16, 1, 8, 8)

    assert torch.equal(moved(inputs, seed=5), moved(inputs, seed=5))
    assert not torch.equal(moved(inputs, seed=5), moved(inputs, seed=6))


def test_a_part_of_a_batch_changes_as_in_the_whole() -> None:
    inputs = torch.rand(9, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    chance = torch.Generator().manual_seed(0)

    part = flip_and_shift(inputs[4:7], chance, fill=-1.0, first=4, total=9)

    whole_chance = torch.Generator().manual_seed(0)
    whole = flip_and_shift(inputs, whole_chance, fill=-1.0)
    assert torch.equal(part, whole[4:7])
    assert torch.equal(chance.get_state(), whole_chance.get_state())
