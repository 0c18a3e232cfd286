"""Which CNN block exchanges with which transformer block, and in what order all blocks run."""

from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

from robustnet_mm.arguments import as_tuple, check_whole


def pair_blocks(
    num_cnn: int, num_vit: int, weave: str | Sequence = "paper"
) -> list[tuple[int, int]]:
    """Pairs (u, v): CNN block u feeds transformer block v, which feeds CNN block u + 1.

    Block 0 of either tower runs before the first exchange. Both indices increase strictly.

    Args:
        num_cnn: Number of blocks of the CNN tower.
        num_vit: Number of blocks of the ViT tower.
        weave: 'paper' takes every second CNN block (u = 1, 3, 5, ...) with the first transformer
            blocks (v = 1, 2, 3, ...), as in section 4 of the paper. 'even' makes as many
            exchanges and spreads them over the whole depth of both towers. A sequence of pairs
            is checked and taken as it is.

    Returns:
        The exchanges in the order in which they run.

    Raises:
        ValueError: Unknown `weave`, or pairs that are out of range or do not increase.
    """
    check_whole("num_cnn", num_cnn, 0)
    check_whole("num_vit", num_vit, 0)
    if (pairs := as_tuple(weave)) is not None:
        return _check_pairs(pairs, num_cnn, num_vit)
    num = max(min((num_cnn - 1) // 2, num_vit - 1), 0)
    if weave == "paper":
        return [(2 * k + 1, k + 1) for k in range(num)]
    if weave == "even":
        return list(zip(_spread(num, num_cnn - 2), _spread(num, num_vit - 1), strict=True))
    raise ValueError(f"weave must be 'paper', 'even' or a list of (u, v) pairs, got {weave!r}")


def _spread(num: int, last: int) -> list[int]:
    """`num` indices from 1 to `last`, evenly spaced."""
    if num < 2:
        return [last] * num
    return [1 + round(k * (last - 1) / (num - 1)) for k in range(num)]


def _check_pairs(pairs: Sequence, num_cnn: int, num_vit: int) -> list[tuple[int, int]]:
    checked = []
    for pair in pairs:
        numbers = as_tuple(pair) or ()
        whole = all(isinstance(n, Integral) and not isinstance(n, bool) for n in numbers)
        if len(numbers) != 2 or not whole:
            raise ValueError(f"weave needs pairs (u, v) of block numbers, got {pair!r}")
        u, v = (int(number) for number in numbers)
        if not (0 <= u <= num_cnn - 2 and 0 <= v <= num_vit - 1):
            raise ValueError(
                f"weave pair {(u, v)} is out of range: with {num_cnn} CNN blocks and {num_vit} "
                f"transformer blocks, u must be in 0..{num_cnn - 2} and v in 0..{num_vit - 1}"
            )
        if checked and not (u > checked[-1][0] and v > checked[-1][1]):
            raise ValueError(
                f"weave pairs must increase in both numbers, got {checked[-1]} before {(u, v)}"
            )
        checked.append((u, v))
    return checked


class Step(NamedTuple):
    """One CNN block, and the exchange that follows it, if any."""

    block: int  # the CNN block u
    exchange: int | None  # its number k, None where the CNN block is alone
    vit_blocks: range  # the transformer blocks of the exchange, its own last


def schedule(num_cnn: int, num_vit: int, pairs: Sequence) -> tuple[list[Step], range]:
    """The steps of a weave in order, and the transformer blocks that run after the last one."""
    steps, done, exchanges = [], 0, {u: (k, v) for k, (u, v) in enumerate(pairs)}
    for u in range(num_cnn):
        k, v = exchanges.get(u, (None, done - 1))
        steps.append(Step(u, k, range(done, v + 1)))
        done = v + 1
    return steps, range(done, num_vit)
