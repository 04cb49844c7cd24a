"""Fit gated attention over tiles on the validation cases of a model, and compare every aggregation on them.

How the tiles of a scan become its class probability is a choice: mean, gaussian, lesion, max, noisy_or, topk, or gated
attention (Ilse et al. 2018), which is learned. Each validation case goes through the network of its fold, which was not
trained on it, once. On these tiles the attention is fitted, and all aggregations are scored on the same cases; the
attention by fits that left the case's fold out. A recommendation for each target follows.

Written are, into the folder of the model, aggregation.json, which `predict --aggregation gated_attention` uses, and
aggregation_out_of_fold.json, a table from which `calibrate --classification` fits what belongs to that aggregation.

  nnunet-multitask fit-aggregation -d 200 -c 3d_fullres -tr nnUNetTrainerMultiTask
  nnunet-multitask fit-aggregation -m MODEL_FOLDER -f 0 1 2 --aggregation finding=topk
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from nnunet_multitask.cli._folds import add_labels, labels_of, splits_of
from nnunet_multitask.cli._nnunet import add_device, add_model, add_trust, model_folder, prepare_device
from nnunet_multitask.cli._outputs import check_output
from nnunet_multitask.cli._scoring import text_of
from nnunet_multitask.errors import InputError

HELP = "fit gated attention over tiles, and recommend how tiles become a case"
TABLE_NAME = "aggregation_out_of_fold.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``fit-aggregation``."""
    add_model(parser)
    parser.add_argument("-f", nargs="+", type=int, metavar="FOLD", help="folds (default: all that are finished)")
    parser.add_argument(
        "-chk", default="checkpoint_final.pth", help="name of the checkpoint (default: checkpoint_final.pth)"
    )
    parser.add_argument("-step_size", type=float, default=0.5, help="step between tiles, in tiles (default: 0.5)")
    parser.add_argument("--disable_tta", action="store_true", help="no mirroring, where predictions have none either")
    add_labels(parser, "targets to fit (default: all)")
    parser.add_argument(
        "--aggregation",
        nargs="+",
        default=[],
        metavar="[TARGET=]NAME",
        help="how tiles become a case in the table for calibrate (default: gated_attention)",
    )
    parser.add_argument(
        "--leave-out-rare",
        action="store_true",
        help="fit no attention for classes with too few cases instead of refusing (of exclusive classes the target)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier fit")
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON on standard output")
    add_device(parser)
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    """Fit, write aggregation.json and the table, and print what each aggregation is worth."""
    import json

    from nnunet_multitask.documents import check_schema, write_json
    from nnunet_multitask.inference.model import check_model_folder, finished_folds, sha256_of

    folder = model_folder(args)
    if not 0 < args.step_size <= 1:
        fault = f"expected a number above 0 and up to 1, got {args.step_size:g}"
        raise InputError("bad-step-size", "-step_size", fault, "leave it at 0.5")
    folds = args.f if args.f is not None else finished_folds(folder, args.chk)
    check_model_folder(folder, folds, args.chk)
    output = folder / "aggregation.json"
    check_output(output, is_folder=False)
    if output.exists() and not args.overwrite:
        raise InputError("already-exists", output, "expected no fitted aggregation, found one", "use --overwrite")
    preprocessed, splits = splits_of(folder, folds)
    sidecar = labels_of(args, preprocessed)
    device = prepare_device(args.device)

    from nnunet_multitask.inference.aggregation import GATED_ATTENTION
    from nnunet_multitask.inference.fitted import AGGREGATION_NAME
    from nnunet_multitask.inference.options import choose_aggregations
    from nnunet_multitask.workflows.fit_aggregation import check_cases, fit, out_of_fold_table, own_of
    from nnunet_multitask.workflows.seen_cases import see_cases

    rare = check_cases(folder, splits, sidecar, args.leave_out_rare)
    targets, own = own_of(folder)
    default = {**own, **dict.fromkeys(rare, GATED_ATTENTION)}
    chosen = choose_aggregations(args.aggregation, targets, default)
    unfitted = [name for name, kind in chosen.items() if kind == GATED_ATTENTION and name not in rare]
    if unfitted:
        fault = f"expected {GATED_ATTENTION} for targets that are fitted, got it for {', '.join(unfitted)}"
        raise InputError("missing-aggregation", "--aggregation", fault, "name another aggregation for these")
    passes = {"step_size": args.step_size, "mirroring": not args.disable_tta}
    with contextlib.redirect_stdout(sys.stderr):  # nnU-Net tells where it looks
        seen, model = see_cases(
            folder,
            splits,
            sidecar,
            preprocessed,
            checkpoint_name=args.chk,
            device=device,
            step_size=args.step_size,
            use_mirroring=not args.disable_tta,
            trust_checkpoint=args.trust_checkpoint,
        )
    found = fit(folder, seen, model, sidecar, rare, passes)
    check_schema(found.document, AGGREGATION_NAME, output)
    write_json(output, found.document)
    table = folder / TABLE_NAME
    write_json(table, out_of_fold_table(found, chosen, sha256_of(output), sidecar))
    if args.json:
        comparisons = {name: entry["comparison"] for name, entry in found.document["targets"].items()}
        answer = {"output": str(output), "table": str(table), **found.document["fitted_on"], "targets": comparisons}
        print(json.dumps({k: v for k, v in answer.items() if k != "case_fingerprints"}, indent=2, allow_nan=False))
        return 0
    print("\n".join(describe(found.document)))
    print(f"written: {output}, {table.name}")
    return 0


def describe(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a table for each target."""
    for name, entry in document["targets"].items():
        comparison = entry["comparison"]
        own, best = comparison["own"], comparison["recommended"]
        how = entry["evaluation"].replace("_", " ")
        yield f"{name} ({entry['type']}): {entry['n']} cases, gated attention out of sample: {how}"
        yield f"  {'aggregation':<17}{'AUC':>7}{'log loss':>10}   AUC minus {own}"
        for kind, found in comparison["aggregations"].items():
            difference = found.get("difference", {"value": None, "low": None})
            shown = "the model's own" if kind == own else "n/a"
            if difference["value"] is not None:
                shown = f"{difference['value']:+.3f}"
            if difference["low"] is not None:
                shown += f" ({difference['low']:+.3f} to {difference['high']:+.3f})"
            yield f"  {kind:<17}{text_of(found['auc']):>7}{text_of(found['log_loss']):>10}   {shown}"
        if best == own:
            yield f"  recommended: {own}, the model's own: no other is better beyond chance"
        else:
            yield f"  recommended: --aggregation {name}={best}; calibrate for it (see calibrate --classification)"
        if entry["left_out"]:
            yield f"  no attention, hence {entry['fallback']}: {', '.join(entry['left_out'])} (too few cases)"
    for name in document["left_out_targets"]:
        yield f"{name}: too few cases, left out"
