import pytest

from robustnet_mm.models.weave import pair_blocks


def test_paper_takes_every_second_cnn_block_and_the_first_transformer_blocks():
    assert pair_blocks(23, 12, "paper") == [(2 * k - 1, k) for k in range(1, 12)]
    assert pair_blocks(23, 24, "paper")[-1] == (21, 11)


@pytest.mark.parametrize("sizes", [(23, 12), (23, 24), (23, 32), (16, 12), (8, 4), (33, 24)])
def test_even_spreads_as_many_exchanges_over_both_whole_towers(sizes):
    num_cnn, num_vit = sizes
    pairs = pair_blocks(num_cnn, num_vit, "even")
    assert len(pairs) == len(pair_blocks(num_cnn, num_vit, "paper"))
    assert pairs[0] == (1, 1) and pairs[-1] == (num_cnn - 2, num_vit - 1)
    assert pair_blocks(num_cnn, num_vit, pairs) == pairs  # passes the check of explicit pairs


def test_an_explicit_list_is_taken_as_it_is():
    assert pair_blocks(23, 12, [[0, 0], [5, 3], [6, 11]]) == [(0, 0), (5, 3), (6, 11)]


def test_towers_too_short_for_an_exchange_have_none():
    assert pair_blocks(2, 12, "paper") == [] and pair_blocks(23, 1, "even") == []


@pytest.mark.parametrize("pair", [(22, 3), (1, 12), (-1, 3), (1, -1)])
def test_a_pair_out_of_range_is_named_with_the_range(pair):
    with pytest.raises(ValueError, match=r"is out of range.*u must be in 0..21 and v in 0..11"):
        pair_blocks(23, 12, [pair])


@pytest.mark.parametrize("second", [(1, 2), (2, 1), (0, 5)])
def test_pairs_that_do_not_increase_are_refused(second):
    with pytest.raises(ValueError, match="must increase in both numbers"):
        pair_blocks(23, 12, [(1, 1), second])


@pytest.mark.parametrize("how", ["all", "", None])
def test_an_unknown_name_lists_the_known(how):
    with pytest.raises(ValueError, match=f"'paper', 'even' or a list.*got {how!r}"):
        pair_blocks(23, 12, how)


@pytest.mark.parametrize("how", [[(1, 2, 3)], [1, 2], [("a", "b")]])
def test_something_that_is_no_pair_is_refused(how):
    with pytest.raises(ValueError, match=r"pairs \(u, v\)"):
        pair_blocks(23, 12, how)
