"""Random shifts and flips: by hand, and a function of seed, epoch and picture only."""

import numpy as np
import pytest
import torch

from spikeloop.distill.augment import Augmenter, _moved
from spikeloop.distill.config import AugmentationSpec, TrainingConfig
from spikeloop.distill.datasets import load_dataset
from spikeloop.distill.train import train_teacher


def by_hand(image: np.ndarray, down: int, right: int, flip: bool) -> np.ndarray:
    """Pixel by pixel; what comes from outside is 0."""
    out = np.zeros_like(image)
    height, width = image.shape[-2:]
    for r in range(height):
        for c in range(width):
            row, column = r - down, c - right
            if 0 <= row < height and 0 <= column < width:
                out[..., r, c] = image[..., row, width - 1 - column if flip else column]
    return out


@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (2, 3, 2, 4, 5)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_pictures_move_and_turn_as_by_hand(shape, dtype):
    codes = torch.randint(0, 200, shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    shift, flip = torch.tensor([[2, -1], [0, 3], [-2, 0]]), torch.tensor([True, False, True])
    found = _moved(codes, shift, flip, 3)
    assert found.dtype == dtype
    for b in range(3):
        expected = by_hand(codes[..., b, :, :, :].numpy(), *shift[b].tolist(), bool(flip[b]))
        np.testing.assert_array_equal(found[..., b, :, :, :].numpy(), expected)


def test_nothing_happens_by_default():
    codes = torch.arange(48).reshape(2, 2, 3, 4)
    shown = Augmenter(AugmentationSpec(), seed=0, n_images=2).shown(codes, torch.tensor([1, 0]), 1)
    assert torch.equal(shown, codes[[1, 0]])


def test_what_a_picture_looks_like_depends_on_seed_epoch_and_picture_alone():
    codes = torch.rand((40, 1, 6, 6), generator=torch.Generator().manual_seed(1))
    spec = AugmentationSpec(max_shift=2, horizontal_flip=True)
    every = torch.arange(40)

    def shown(seed, epoch, batch):
        return Augmenter(spec, seed=seed, n_images=40).shown(codes, batch, epoch)

    whole = shown(3, 1, every)
    assert torch.equal(whole[[7, 5]], shown(3, 1, torch.tensor([7, 5])))
    assert not torch.equal(whole, shown(3, 2, every))
    assert not torch.equal(whole, shown(4, 1, every))
    back = Augmenter(spec, seed=3, n_images=40)
    back.shown(codes, every, 2)
    assert torch.equal(back.shown(codes, every, 1), whole)


def test_every_shift_and_both_sides_occur():
    augmenter = Augmenter(AugmentationSpec(max_shift=1, horizontal_flip=True), seed=0, n_images=600)
    augmenter.shown(torch.zeros((600, 1, 3, 3)), torch.arange(2), 1)
    seen = np.unique(torch.cat([augmenter._shift, augmenter._flip[:, None]], dim=1).numpy(), axis=0, return_counts=True)
    assert len(seen[0]) == 3 * 3 * 2
    assert seen[1].min() >= 12  # 600 / 18 = 33 expected each


def test_training_with_augmentation_repeats_and_differs():
    digits = load_dataset("digits")
    base = {"role": "teacher", "dataset": "digits", "network": "demo", "epochs": 1, "lr": 0.01, "n_timesteps": 1}

    def weights(**more):
        net = train_teacher(TrainingConfig.model_validate({**base, **more}), digits).net
        return torch.cat([value.flatten() for value in net.state_dict().values()])

    moved = {"augmentation": {"max_shift": 1, "horizontal_flip": True}}
    assert torch.equal(weights(**moved), weights(**moved))
    assert not torch.equal(weights(**moved), weights())
