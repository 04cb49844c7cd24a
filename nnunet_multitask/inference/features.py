"""Features of whole cases: what the stages of a trained encoder hold, pooled over the tiles of a case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from numpy.typing import NDArray

from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.loading import check_images_alone, load_model_folder
from nnunet_multitask.networks.multitask_unet import foreground_probability
from nnunet_multitask.networks.pooling import foreground_of_stages

POOLINGS = ("average", "foreground")
_EPSILON = 1e-6  # so that a case without any foreground has its plain mean


class FeatureExtractor:
    """Reads the encoder of a trained network, stock nnU-Net's or a multi-task one, case by case.

    Every tile of nnU-Net's sliding window goes through encoder and decoder once, without mirroring. ``average`` is the
    mean of a stage over all its voxels in all tiles, ``foreground`` the mean under the network's own foreground.

    Args:
        folder: of the trained model.
        fold: the fold whose network is read.
        checkpoint_name: file in its folder.
        device: where the network runs.
        step_size: step between tiles, in tiles.
        trust_checkpoint: unpickle the checkpoint, whatever it asks for, and warn.

    Raises:
        InputError: the checkpoint cannot be loaded or would run something; the network has no convolutional encoder
            and decoder, or needs the previous stage of a cascade.
    """

    def __init__(
        self,
        folder: Path,
        fold: int,
        checkpoint_name: str,
        device: torch.device,
        step_size: float = 1.0,
        *,
        trust_checkpoint: bool = False,
    ) -> None:
        predictor = nnUNetPredictor(
            tile_step_size=step_size,
            use_mirroring=False,
            perform_everything_on_device=device.type == "cuda",
            device=device,
            allow_tqdm=False,
        )
        load_model_folder(predictor, folder, fold, checkpoint_name, with_heads=False, trust_checkpoint=trust_checkpoint)
        check_images_alone(predictor, folder)
        network: Any = predictor.network
        if not hasattr(getattr(network, "encoder", None), "output_channels") or not hasattr(network, "decoder"):
            raise InputError(
                "unsupported-network",
                folder,
                f"expected a convolutional encoder of several stages and a decoder, got {type(network).__name__}",
                "probe a model with PlainConvUNet or ResidualEncoderUNet",
            )
        self.network = network.to(device).eval()
        self.device = device
        self.has_regions = bool(predictor.label_manager.has_regions)
        self.channels = tuple(int(width) for width in network.encoder.output_channels)
        # folder of the preprocessed cases that it sees
        self.data_identifier = str(predictor.configuration_manager.data_identifier)
        self._predictor = predictor

    @torch.inference_mode()
    def __call__(self, data: NDArray[Any] | torch.Tensor) -> dict[str, list[NDArray[np.float64]]]:
        """Return the features of a case.

        Args:
            data: preprocessed image, (C, z, y, x).

        Returns:
            For each of ``POOLINGS`` the stages, finest first, each (channels of the stage,).
        """
        predictor = self._predictor
        image = torch.as_tensor(np.asarray(data), dtype=torch.float32)
        padded, _ = pad_nd_image(
            image, predictor.configuration_manager.patch_size, "constant", {"value": 0}, True, None
        )
        sums = [torch.zeros(2, width, dtype=torch.float64) for width in self.channels]
        shares = [torch.zeros(2, 1, dtype=torch.float64) for _ in self.channels]
        for slicer in predictor._internal_get_sliding_window_slicers(padded.shape[1:]):
            stages, foreground = self._tile(padded[slicer][None].to(self.device))
            for index, (stage, mask) in enumerate(zip(stages, foreground, strict=True)):
                voxels, weights = stage[0].flatten(1).float(), mask[0].flatten(1).float() + _EPSILON  # (C, N), (1, N)
                found = torch.stack([voxels.sum(dim=1), voxels @ weights[0]])
                total = torch.stack([torch.tensor([float(voxels.shape[1])], device=self.device), weights.sum(dim=1)])
                sums[index] += found.double().cpu()
                shares[index] += total.double().cpu()
        pooled = [(values / share).numpy() for values, share in zip(sums, shares, strict=True)]
        return {name: [stage[row] for stage in pooled] for row, name in enumerate(POOLINGS)}

    def _tile(self, x: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return the stages of a tile (1, C, *spatial), and the foreground at the size of each."""
        with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
            stages = self.network.encoder(x)
            foreground = foreground_probability(self.network.decoder(stages), self.has_regions)
        return stages, foreground_of_stages(foreground, [stage.shape[2:] for stage in stages])
