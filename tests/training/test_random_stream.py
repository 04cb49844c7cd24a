import torch

from nnunet_multitask.training.random_stream import RandomStream


def test_numbers_of_a_stream_go_on_and_leave_the_others_alone():
    torch.manual_seed(1)
    expected = torch.rand(4)
    torch.manual_seed(7)
    of_stream = torch.rand(4)

    torch.manual_seed(1)
    stream = RandomStream(7)
    outside, inside = [], []
    for _ in range(2):
        outside.append(torch.rand(2))
        with stream:
            inside.append(torch.rand(2))
    assert torch.equal(torch.cat(outside), expected)
    assert torch.equal(torch.cat(inside), of_stream)
