"""Which channels can be removed together, alone: the smallest groups that leave a valid graph.

Most marks are a group by themselves. A grouped convolution has equal groups, so each of them has
to lose equally many channels: a group then takes one mark from each, the least important first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.graph.channels.trace import FIXED, Trace

Blocks = frozenset[tuple[int, int]]
"""Pairs of a partition and a block of it."""


@dataclass(frozen=True, slots=True)
class Group:
    """marks: the roots that go together. score: what is lost with them.

    bundle: the values that they lie in, which other groups may share. channels: how many outputs
    of layers they are.
    """

    marks: tuple[int, ...]
    score: float
    bundle: tuple[int, ...]
    channels: int


def removable_groups(trace: Trace, scores: Mapping[int, float]) -> list[Group]:
    """All groups of a traced graph; fixed channels are in none.

    scores: of each root, at least 0; a root without one counts 0.
    """
    bundles: dict[int, list[int]] = {}
    arrays = {marks.ids.tobytes(): marks.ids for marks in trace.marks.values()}
    for index, ids in enumerate(arrays.values()):
        for root in np.unique(trace.roots(ids)).tolist():
            bundles.setdefault(root, []).append(index)
    channels: dict[int, int] = {}
    for layer in trace.layers:
        for root in trace.roots(layer.outputs).tolist():
            channels[root] = channels.get(root, 0) + 1
    partitions = _distinct([trace.roots(rows) for rows in trace.partitions])
    held = {root for rows in partitions for root in np.unique(rows).tolist()}
    chosen: list[tuple[int, ...]] = [
        (root,) for root in bundles if root != FIXED and root not in held
    ]
    chosen += _balanced(partitions, scores)
    return [
        Group(
            marks,
            sum(scores.get(mark, 0.0) for mark in marks),
            tuple(sorted({index for mark in marks for index in bundles[mark]})),
            sum(channels.get(mark, 0) for mark in marks),
        )
        for marks in chosen
    ]


def _distinct(partitions: Iterable[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """Partitions of more than one block, each once."""
    found = {(rows.shape, rows.tobytes()): rows for rows in partitions if len(rows) > 1}
    return list(found.values())


def _balanced(
    partitions: Sequence[NDArray[np.int64]], scores: Mapping[int, float]
) -> list[tuple[int, ...]]:
    """Groups of marks that take equally many channels from every block they touch."""
    covered: dict[int, list[tuple[int, int]]] = {}
    for number, rows in enumerate(partitions):
        for block, row in enumerate(rows):
            for root in row.tolist():
                covered.setdefault(root, []).append((number, block))
    groups: list[tuple[int, ...]] = []
    cells: dict[Blocks, list[int]] = {}
    for root, blocks in covered.items():
        if root == FIXED:
            continue
        if _is_even(blocks, partitions):
            groups.append((root,))
        elif len(set(blocks)) == len(blocks):
            cells.setdefault(frozenset(blocks), []).append(root)
    for members in cells.values():
        members.sort(key=lambda root: (-scores.get(root, 0.0), root))
    for component in _components(cells):
        own = {blocks: cells[blocks] for blocks in component}
        numbers = sorted({pair[0] for blocks in component for pair in blocks})
        total = math.lcm(*(len(partitions[number]) for number in numbers))
        wanted = {
            (number, block): total // len(partitions[number])
            for number in numbers
            for block in range(len(partitions[number]))
        }
        found: list[tuple[int, ...]] = []
        while (cover := _cover(wanted, own, scores)) is not None:
            found.append(tuple(own[blocks].pop() for blocks in cover))
        groups += found or _shares(list(own.values()), partitions)
    return groups


def _shares(
    cells: Sequence[Sequence[int]], partitions: Sequence[NDArray[np.int64]]
) -> list[tuple[int, ...]]:
    """An equal share of each cell in every group: as many groups as divide all cells."""
    parts = math.gcd(*(len(members) for members in cells))
    groups = [
        tuple(
            mark
            for members in cells
            for mark in members[part * len(members) // parts : (part + 1) * len(members) // parts]
        )
        for part in range(parts)
    ]
    # Channels that have to stay may lie in some blocks alone, and spoil the proportion.
    taken = [np.isin(rows, groups[0]).sum(axis=1) for rows in partitions]
    return groups if all((counts == counts[0]).all() for counts in taken) else []


def _is_even(blocks: Sequence[tuple[int, int]], partitions: Sequence[NDArray[np.int64]]) -> bool:
    """Whether one mark takes equally many channels from all blocks of each partition."""
    counts: dict[int, dict[int, int]] = {}
    for number, block in blocks:
        taken = counts.setdefault(number, {})
        taken[block] = taken.get(block, 0) + 1
    return all(
        len(taken) == len(partitions[number]) and len(set(taken.values())) == 1
        for number, taken in counts.items()
    )


def _components(cells: Iterable[Blocks]) -> list[list[Blocks]]:
    """Cells that share partitions, directly or through others."""
    found: list[tuple[set[int], list[Blocks]]] = []
    for blocks in cells:
        numbers, members = {pair[0] for pair in blocks}, [blocks]
        apart = []
        for others, theirs in found:
            if others & numbers:
                numbers |= others
                members = theirs + members
            else:
                apart.append((others, theirs))
        found = [*apart, (numbers, members)]
    return [members for _, members in found]


def _cover(
    wanted: Mapping[tuple[int, int], int],
    cells: Mapping[Blocks, Sequence[int]],
    scores: Mapping[int, float],
) -> list[Blocks] | None:
    """Cells that together take as many marks from each block as wanted, or None.

    A cell may be taken as often as it has marks; those whose next mark scores least are tried
    first. The search never goes back: a block with few ways is served before one with many.
    """
    left = {blocks: len(members) for blocks, members in cells.items() if members}
    ways: dict[tuple[int, int], list[Blocks]] = {pair: [] for pair in wanted}
    for blocks in sorted(left, key=lambda blocks: scores.get(cells[blocks][-1], 0.0)):
        for pair in blocks:
            ways[pair].append(blocks)
    need = dict(wanted)
    count = {pair: len(ways[pair]) for pair in wanted}
    alive = set(left)
    chosen: list[Blocks] = []
    while need:
        pair = min(need, key=lambda pair: (count[pair], pair))
        taken = next((blocks for blocks in ways[pair] if blocks in alive), None)
        if taken is None:
            return None
        chosen.append(taken)
        left[taken] -= 1
        dead = [] if left[taken] else [taken]
        for other in taken:
            need[other] -= 1
            if not need[other]:
                del need[other]
                dead += ways[other]
        for blocks in alive.intersection(dead):
            alive.remove(blocks)
            for other in blocks:
                count[other] -= 1
    return chosen
