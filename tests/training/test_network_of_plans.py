"""Plans whose network cannot carry the branch are refused before training starts."""

import pytest
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_multitask.errors import InputError
from nnunet_multitask.training.trainers import nnUNetTrainerMultiTask

PRIMUS = "dynamic_network_architectures.architectures.primus.Primus"


def test_plans_with_primus_are_refused_in_words():
    plans = {
        "dataset_name": "Dataset001_X",
        "plans_name": "primusPlans",
        "configurations": {
            "3d_fullres": {
                "architecture": {"network_class_name": PRIMUS, "arch_kwargs": {}, "_kw_requires_import": []},
            }
        },
    }
    manager = PlansManager(plans)
    with pytest.raises(InputError, match=r"\[unsupported-network\] plans primusPlans: network Primus: expected a conv"):
        nnUNetTrainerMultiTask.build_network_architecture(manager, manager.get_configuration("3d_fullres"), 1, 2, True)
