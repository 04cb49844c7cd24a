import pytest
import torch
from unets import unet

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.errors import InputError
from nnunet_multitask.networks.multitask_unet import MultiTaskUNet
from nnunet_multitask.training.pretraining import initial_network, transfer
from nnunet_multitask.training.trainers import nnUNetTrainerBaselineShort


def multitask(seed=1, config=MultiTaskConfig(), outputs=None, **sizes):  # noqa: B008  frozen
    torch.manual_seed(seed)
    return MultiTaskUNet(unet(**sizes), outputs or {"subtype": 2}, config)


def stock(seed=0, **sizes):
    torch.manual_seed(seed)
    return unet(**sizes).state_dict()


def test_encoder_and_decoder_are_taken_and_the_branch_stays():
    network, source = multitask(), stock()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    result = transfer(source, network, "x.pth")
    assert set(result.weights) == set(before)
    for name, value in result.weights.items():
        from_checkpoint = name in source and ".seg_layers." not in name
        assert torch.equal(value, source[name] if from_checkpoint else before[name]), name
    assert result.input_layer is None
    assert result.left == ()
    parameters = [name for name, _ in network.named_parameters()]
    buffers = [name for name, _ in network.named_buffers()]
    # every weight is told once, under one heading
    told = [*result.taken, *result.segmentation_layers, *result.branch]
    assert sorted(told) == sorted([*parameters, *buffers])
    assert all(".seg_layers." in name for name in result.segmentation_layers)


def test_a_multitask_checkpoint_gives_encoder_and_decoder_only():
    other = multitask(seed=0, outputs={"ich": 1}, config=MultiTaskConfig(fusion_channels=4))
    network = multitask()
    branch = {name: value.clone() for name, value in network.state_dict().items() if name.startswith("fusion.")}
    result = transfer(other.state_dict(), network, "x.pth")
    assert {name.split(".")[0] for name in result.left} == {"fusion", "heads"}
    assert all(torch.equal(result.weights[name], value) for name, value in branch.items())
    first = "encoder.stages.0.0.convs.0.conv.weight"
    assert torch.equal(result.weights[first], other.state_dict()[first])


def test_other_labels_are_no_matter():
    source = stock(num_classes=5)
    result = transfer(source, multitask(), "x.pth")
    assert result.weights["decoder.seg_layers.0.weight"].shape[0] == 2


def test_another_number_of_input_channels_starts_the_first_layer_afresh():
    source = stock()
    first = [name for name in source if name.endswith("stages.0.0.convs.0.conv.weight") and "encoder" in name]
    network = multitask()
    alias = network.state_dict()["encoder.stages.0.0.convs.0.conv.weight"]
    wide = {
        name: torch.randn(4, 3, 3, 3, 3)
        if name in network.state_dict() and network.state_dict()[name].data_ptr() == alias.data_ptr()
        else value
        for name, value in source.items()
    }
    assert len(first) == 2  # the encoder and, again, the decoder's encoder
    result = transfer(wide, network, "x.pth")
    assert result.input_layer == ("encoder.stages.0.0.convs.0.conv.weight", (4, 3, 3, 3, 3), (4, 1, 3, 3, 3))
    assert result.input_layer[0] not in result.taken
    assert torch.equal(result.weights[first[0]], alias)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"features": (4, 8, 16)}, r"expected encoder\.stages\.2.* of shape \(12, .*\), got \(16, .*more weights"),
        ({"features": (4, 8)}, r"expected encoder\.stages\.2.*, which the checkpoint lacks, and \d+ more"),
        ({"features": (4, 8, 12, 16)}, "more weights differ"),
        ({"dimensions": 2}, r"of shape \(4, 1, 3, 3, 3\), got \(4, 1, 3, 3\)"),
    ],
)
def test_another_architecture_is_refused_by_its_first_weight(sizes, words):
    with pytest.raises(InputError, match=rf"\[other-architecture\] x\.pth: .*{words}.* -> name with -p and -c"):
        transfer(stock(**sizes), multitask(), "x.pth")


def test_weights_of_a_failed_training_are_refused():
    source = stock()
    source["encoder.stages.1.0.convs.0.conv.bias"][0] = float("nan")
    with pytest.raises(InputError, match=r"\[bad-weights\] x\.pth: expected finite weights, .*encoder\.stages\.1"):
        transfer(source, multitask(), "x.pth")


def test_a_trainer_without_branch_is_refused():
    with pytest.raises(InputError, match=r"\[no-multitask-trainer\] -tr nnUNetTrainerBaselineShort"):
        initial_network(nnUNetTrainerBaselineShort, {}, "3d_fullres", {}, None)
