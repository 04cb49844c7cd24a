"""Plan and preprocess. Takes the options of nnUNetv2_plan_and_preprocess and calls nnU-Net's own functions.

Cases that have a class but no mask (their mask is the ignore label everywhere) are left out of the fingerprint, since
nnU-Net would take the whole scan for foreground and normalise a CT by the intensities of air; they are preprocessed
like all others. Without such cases the files are those of the stock command.

  nnunet-multitask plan -d 200 -c 3d_fullres
"""

from __future__ import annotations

import argparse

HELP = "plan and preprocess as nnU-Net does; cases without mask stay out of the fingerprint"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of nnUNetv2_plan_and_preprocess."""
    parser.add_argument(
        "-d", nargs="+", required=True, metavar="DATASET", help="datasets in $nnUNet_raw, by id or name"
    )
    parser.add_argument(
        "-fpe",
        default="DatasetFingerprintExtractor",
        metavar="CLASS",
        help="fingerprint extractor (default: %(default)s)",
    )
    parser.add_argument(
        "-npfp", type=int, default=8, metavar="N", help="processes for the fingerprint (default: %(default)s)"
    )
    parser.add_argument("--verify_dataset_integrity", action="store_true", help="run nnU-Net's own check first")
    parser.add_argument("--no_pp", action="store_true", help="do not preprocess")
    parser.add_argument("--clean", action="store_true", help="extract the fingerprint anew where there is one")
    parser.add_argument("-pl", default="ExperimentPlanner", metavar="CLASS", help="planner (default: %(default)s)")
    parser.add_argument("-gpu_memory_target", type=float, metavar="GB", help="GPU memory to plan for")
    parser.add_argument(
        "-preprocessor_name", default="DefaultPreprocessor", metavar="CLASS", help="preprocessor (default: %(default)s)"
    )
    parser.add_argument(
        "-overwrite_target_spacing", type=float, nargs=3, metavar="MM", help="target spacing of 3d_fullres, (z, y, x)"
    )
    parser.add_argument("-overwrite_plans_name", metavar="NAME", help="name of the plans (default: the planner's own)")
    parser.add_argument(
        "-c",
        nargs="+",
        default=["2d", "3d_fullres", "3d_lowres"],
        metavar="CONFIGURATION",
        help="what to preprocess (default: 2d 3d_fullres 3d_lowres); what the plans lack is passed over",
    )
    parser.add_argument(
        "-np",
        type=int,
        nargs="+",
        metavar="N",
        help="processes for each configuration, or one number for all (default: 8 for 2d and 3d_lowres, else 4)",
    )
    parser.add_argument("--verbose", action="store_true", help="print more")
    parser.add_argument("--no_pbar", action="store_true", help="show no progress bars")


def run(args: argparse.Namespace) -> int:
    """Plan, preprocess and print what comes next."""
    from nnunet_multitask.workflows.plan import PlanOptions, plan_and_preprocess

    options = PlanOptions(
        fingerprint_extractor=args.fpe,
        fingerprint_processes=args.npfp,
        check_integrity=args.verify_dataset_integrity,
        clean=args.clean,
        planner=args.pl,
        gpu_memory_target_gb=args.gpu_memory_target,
        preprocessor=args.preprocessor_name,
        target_spacing=None if args.overwrite_target_spacing is None else tuple(args.overwrite_target_spacing),
        plans_name=args.overwrite_plans_name,
        configurations=tuple(args.c),
        processes=None if args.np is None else tuple(args.np),
        preprocess=not args.no_pp,
        verbose=args.verbose,
        progress=not args.no_pbar,
    )
    for planned in plan_and_preprocess(args.d, options):
        print(f"{planned.dataset}: {planned.num_cases} training cases planned as {planned.plans}")
        if planned.label_only:
            print(f"{len(planned.label_only)} of them have no mask and are left out of the fingerprint")
        dataset = int(planned.dataset[7:10])
        names = [name for name in args.c if name in planned.configurations] or planned.configurations
        configuration = "3d_fullres" if "3d_fullres" in names else names[0]
        plans = "" if planned.plans.stem == "nnUNetPlans" else f" -p {planned.plans.stem}"
        print("next:")
        if args.no_pp:
            print(f"  nnUNetv2_preprocess -d {dataset} -plans_name {planned.plans.stem} -c {' '.join(names)}")
        print(f"  nnunet-multitask split {dataset}")
        print(f"  nnunet-multitask train {dataset} {configuration} 0{plans}")
    return 0
