"""The predictor around a network of two lines, so that every number can be worked out by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from nnunet_multitask.inference.classifying import ClassifyingPredictor
from nnunet_multitask.inference.gated_attention import GatedAttention, GatedHead
from nnunet_multitask.labels import Target


class Toy(nn.Module):
    """Foreground where the image is positive; the class logit is the tile's mean."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x, classify=False):
        segmentation = torch.cat((-x, x), dim=1)
        return (segmentation, {"ich": self.gain * x.mean(dim=(1, 2, 3, 4))[:, None]}) if classify else segmentation


class Plans:
    num_segmentation_heads = 2
    patch_size = (4, 4, 4)


@pytest.fixture
def predictor():
    predictor = ClassifyingPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.network = Toy()
    predictor.configuration_manager = predictor.label_manager = Plans()
    predictor.targets = {"ich": Target("ich", "binary", ("no", "yes"))}
    predictor.has_regions, predictor.aggregations, predictor.top_tiles = False, {"ich": "mean"}, 4
    predictor.fitted = {}
    predictor.allowed_mirroring_axes = (0, 1, 2)
    predictor.cases, predictor._waiting = {}, ["first", "second"]
    predictor.list_of_parameters = [{"gain": torch.tensor([gain])} for gain in (1.0, 3.0)]
    return predictor


def sigmoid(x):
    return 1 / (1 + torch.exp(torch.tensor(-x))).item()


def test_folds_mirrors_and_tiles_are_averaged(predictor):
    volume = torch.zeros(1, 4, 4, 6)  # two tiles, which overlap
    volume[..., :2] = 1
    predictor.predict_logits_from_preprocessed_data(volume)
    # the first tile holds the two slices of ones, the second none of them; mirroring changes no mean
    folds = [(sigmoid(gain * 0.5) + 0.5) / 2 for gain in (1.0, 3.0)]
    case = predictor.cases["first"]
    assert case.probabilities["ich"][0] == pytest.approx(sum(folds) / 2, abs=1e-6)
    assert case.by_fold["ich"][:, 0] == pytest.approx(folds, abs=1e-6)
    assert case.by_mirror["ich"].shape == (8, 1)
    assert case.by_mirror["ich"][:, 0] == pytest.approx([sum(folds) / 2] * 8, abs=1e-6)
    assert case.seconds > 0


def test_cases_keep_their_ids_in_order(predictor):
    predictor.predict_logits_from_preprocessed_data(torch.ones(1, 4, 4, 4))
    predictor.predict_logits_from_preprocessed_data(-torch.ones(1, 4, 4, 4))
    assert list(predictor.cases) == ["first", "second"]
    assert predictor.cases["first"].probabilities["ich"][0] > 0.5 > predictor.cases["second"].probabilities["ich"][0]


class RunsOutOfMemory(Toy):
    """Fails at one of its calls, as a GPU does that is full."""

    def __init__(self, call):
        super().__init__()
        self.calls, self.fails_at = 0, call

    def forward(self, x, classify=False):
        self.calls += 1
        if self.calls == self.fails_at:
            raise RuntimeError("CUDA out of memory")
        return super().forward(x, classify)


@pytest.mark.parametrize("aggregation", ["mean", "gated_attention"])
@pytest.mark.parametrize("call", [2, 4])  # the second tile of the first fold, of the second fold
def test_volume_that_is_run_again_counts_once(predictor, call, aggregation):
    predictor.aggregations = {"ich": aggregation}
    look = np.array([[0.0, 1, 0, 0]])  # at the foreground
    gate = GatedHead(look, look, np.ones(1), np.array([[1.0, 0, 0, 0]]))
    predictor.fitted = {"ich": GatedAttention(predictor.targets["ich"], np.zeros(3), np.ones(3), [gate], "max")}
    predictor.allowed_mirroring_axes = None
    volume = torch.linspace(-1, 1, 96).reshape(1, 4, 4, 6)  # two tiles
    kept = []
    predictor.keep = lambda case_id, prediction: kept.append(prediction)
    undisturbed = predictor.predict_logits_from_preprocessed_data(volume)
    predictor.network = RunsOutOfMemory(call)
    predictor.perform_everything_on_device = True
    repeated = predictor.predict_logits_from_preprocessed_data(volume)
    assert predictor.network.calls == 6  # both tiles of that fold again
    assert torch.equal(undisturbed, repeated)
    first, second = kept
    assert len(second.tiles.folds) == 2
    assert [len(fold.probabilities["ich"]) for fold in second.tiles.folds] == [2, 2]
    assert second.by_fold["ich"].tolist() == first.by_fold["ich"].tolist()
