"""Plans that name network layers, and no program: nnU-Net calls whatever they name."""

from __future__ import annotations

import pydoc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_multitask.errors import InputError


def check_layers(plans: Mapping[str, Any], configuration: str, where: str | Path) -> None:
    """Refuse plans that name something else than layers where nnU-Net's network is built from them.

    ``get_network_from_plans`` imports the network and its layers by dotted names and calls them with arguments of the
    plans: ``"nonlin": "subprocess.call"`` in a ``plans.json`` is a program as good as any pickle.

    Args:
        plans: of a model folder.
        configuration: the one that is built.
        where: the plans, for the error.

    Raises:
        InputError: a name is found and is no class of layers; one that is not found is nnU-Net's to refuse.
    """
    settings = PlansManager(dict(plans)).get_configuration(configuration)
    arguments = settings.network_arch_init_kwargs
    named = {key: arguments.get(key) for key in settings.network_arch_init_kwargs_req_import}
    for key, name in {"network_class_name": settings.network_arch_class_name, **named}.items():
        found = pydoc.locate(name) if isinstance(name, str) else None
        if found is not None and not (isinstance(found, type) and issubclass(found, nn.Module)):
            raise InputError(
                "unsafe-plans",
                where,
                f"expected a layer of torch as {key} of {configuration}, got {name}, which could run any program",
                "use the plans.json that nnU-Net wrote; nothing of this one was run",
            )
