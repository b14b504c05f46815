"""Masks of the weights that are kept: unstructured pruning by magnitude; LAMP scores give the share of each layer."""

import torch


def density(progress, start, stop, final):
    """Return the share of weights kept at a point of the training, which falls from 1 to `final` along a cubic.

    The schedule is that of Zhu and Gupta, "To prune, or not to prune" (2017).

    Examples
    --------
    >>> density(0.1, 0.2, 0.6, 0.25), density(0.6, 0.2, 0.6, 0.25)
    (1.0, 0.25)
    """
    x = min(max((progress - start) / (stop - start), 0.0), 1.0)
    return final + (1.0 - final) * (1.0 - x) ** 3


def lamp_scores(weight, mask):
    """Score the weights of a layer so that layers can be compared.

    A score is the square of a weight over the sum of the squares of all weights of its layer that are no smaller (Lee
    et al., "Layer-adaptive sparsity for the magnitude-based pruning", 2021).

    Parameters
    ----------
    weight, mask : torch.Tensor [same shape]

    Returns
    -------
    scores : torch.Tensor [shape=weight.shape]
        Zero where the mask is zero.
    """
    squares = (weight * mask).square().flatten()
    ascending, order = squares.sort()
    rest = ascending.flip(0).cumsum(0).flip(0)  # sums of each square and all larger ones
    scores = torch.empty_like(squares)
    scores[order] = ascending / rest.clamp_min(1e-30)
    return scores.view_as(weight)


def update_masks(weights, masks, kept):
    """Shrink the masks so that they keep `kept` weights together; a pruned weight stays pruned.

    Parameters
    ----------
    weights : list of torch.Tensor
    masks : list of torch.Tensor
        Ones and zeros; changed in place.
    kept : int
    """
    alive = sum(int(mask.sum()) for mask in masks)
    if alive <= kept:
        return
    scores = [lamp_scores(weight.detach(), mask) for weight, mask in zip(weights, masks)]
    threshold = torch.cat([score.flatten() for score in scores]).kthvalue(sum(s.numel() for s in scores) - kept).values
    for mask, score in zip(masks, scores):
        mask.mul_(score > threshold)


def apply_masks(weights, masks):
    """Set the pruned weights to zero."""
    with torch.no_grad():
        for weight, mask in zip(weights, masks):
            weight.mul_(mask)
