"""Fitting an ensemble of small networks to numbers: how the learned cost model gets its weights."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[np.float32]

LIMIT = 3.0
"""Standard deviations beyond which a feature counts as that many: networks do not extrapolate."""


def fit_ensemble(
    features: Array,
    targets: Array,
    seed: int,
    members: int = 6,
    hidden: int = 16,
    epochs: int = 300,
    learning_rate: float = 3e-3,
    weight_decay: float = 1.0,
) -> dict[str, Array]:
    """Fit networks of two hidden layers with ReLU, all at once, by the Huber loss on all samples.

    Each member starts elsewhere and sees its own bootstrap of the samples (Lakshminarayanan et al., arXiv 1612.01474,
    section 2.4; Breiman, "Bagging predictors", 1996). The same arguments give the same weights on one machine.

    Symbols: N samples, F features, E members, H hidden units.

    Args:
        features: shape (N, F).
        targets: shape (N,).
        seed: decides starts and bootstraps.
        members: E.
        hidden: H.
        epochs: steps of AdamW, each on all samples.
        learning_rate: at first; it falls to zero along a cosine.
        weight_decay: of AdamW.

    Returns:
        ``mean`` and ``scale`` of shape (F,), ``weight0`` (E, F, H), ``bias0`` (E, H), ``weight1`` (E, H, H), ``bias1``
        (E, H), ``weight2`` (E, H, 1), ``bias2`` (E, 1), and ``limit``: with z the features clipped to
        ``clip((x - mean) * scale, -limit, limit)``, a member's output is
        ``relu(relu(z @ weight0 + bias0) @ weight1 + bias1) @ weight2 + bias2``.
    """
    generator = torch.Generator().manual_seed(seed)
    mean = features.mean(axis=0)
    deviation = features.std(axis=0)
    # what never varied says nothing of what else it might be
    scale = np.where(deviation > 1e-3, 1 / np.maximum(deviation, 1e-3), 0.0)
    inputs = torch.from_numpy(((features - mean) * scale).astype(np.float32)).clamp(-LIMIT, LIMIT)
    wanted = torch.from_numpy(np.ascontiguousarray(targets, np.float32))
    sizes = (features.shape[1], hidden, hidden, 1)
    weights = [
        (torch.randn(members, rows, columns, generator=generator) * math.sqrt(2 / rows)).requires_grad_()
        for rows, columns in itertools.pairwise(sizes)
    ]
    with torch.no_grad():
        weights[-1] *= 0.1
    biases = [torch.zeros(members, columns, requires_grad=True) for columns in sizes[1:]]
    drawn = torch.randint(len(wanted), (members, len(wanted)), generator=generator)
    importance = torch.stack([torch.bincount(row, minlength=len(wanted)) for row in drawn]).float()
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": weight_decay}, {"params": biases, "weight_decay": 0.0}], lr=learning_rate
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        values = inputs.expand(members, *inputs.shape)
        for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            values = values @ weight + bias[:, None]
            if number < len(weights) - 1:
                values = values.relu()
        losses = torch.nn.functional.huber_loss(values[..., 0], wanted.expand(members, -1), delta=0.3, reduction="none")
        loss = (losses * importance).mean(dim=1).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    result: dict[str, Array] = {"limit": np.array(LIMIT, np.float32)}
    result |= {"mean": mean.astype(np.float32), "scale": scale.astype(np.float32)}
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        result[f"weight{number}"] = weight.detach().numpy()
        result[f"bias{number}"] = bias.detach().numpy()
    return result
