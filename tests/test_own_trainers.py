"""A user's own trainer in a folder of its own, exactly as docs/training.md shows it, by the stock command."""

import os
import re
from pathlib import Path

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "training.md").read_text("utf-8")


def test_trainer_of_the_page_trains_and_predicts(micro, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT.partition("## Own trainers")[2], re.S)
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "mine.py").write_text(code)
    variable = {
        "nnUNet_extTrainer": os.pathsep.join([str(tmp_path / "trainers"), micro.variables["nnUNet_extTrainer"]])
    }
    micro.run("nnunet-multitask", *"configure 901 --from micro --name plain --mirroring off --overwrite".split())
    common = "-tr nnUNetTrainerMine -p plain -device cpu".split()
    log = micro.run("nnUNetv2_train", "901", "3d_fullres", "0", *common, **variable)
    assert "Mean Validation Dice" in log
    assert "subtype AUC" in log
    assert "Epoch 1" in log  # the plans' two epochs go before the trainer's own 300
    assert "Epoch 2" not in log
    out = tmp_path / "out"
    micro.run(
        "nnunet-multitask", "predict", "-d", "901", "-c", "3d_fullres", "-npp", "0", "-nps", "0", *common,
        "-i", str(micro.raw / "imagesTs"), "-o", str(out), **variable,
    )  # fmt: skip
    assert len(list(out.glob("*.nii.gz"))) == 2
    assert (out / "classification.json").is_file()
