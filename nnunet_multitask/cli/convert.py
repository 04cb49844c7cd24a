"""Convert a data set into an nnU-Net raw dataset with class labels.

    nnunet-multitask convert hemseg200 --input DIR --dataset-id 200
    nnunet-multitask convert physionet-ct-ich --input DIR --dataset-id 75
    nnunet-multitask convert folder --input DIR --dataset-id 4 --dataset-name Hippocampus --channel-name MR
    nnunet-multitask convert prediction-images --input DIR --output DIR --dataset 4
    nnunet-multitask convert dicom --input DIR --output DIR
    nnunet-multitask convert phantom --output DIR

hemseg200, physionet-ct-ich and folder write $nnUNet_raw/DatasetNNN_NAME: imagesTr, labelsTr, imagesTs, labelsTs,
dataset.json, class_labels.json and conversion_report.json, whole or not at all. prediction-images makes the channels of
such a dataset of other images. dicom turns DICOM series into NIfTI files with a report. phantom makes a synthetic
cohort in the source layout of HemSeg-200 or PhysioNet CT-ICH. Input files are copied, never changed.
"""

from __future__ import annotations

import argparse
import importlib

HELP = "convert a data set into nnU-Net's raw format with class labels, or make a synthetic one"

CONVERTERS = {
    "hemseg200": "HemSeg-200: head CT, IPH or IVH",
    "physionet-ct-ich": "PhysioNet CT-ICH: head CT, five kinds of hemorrhage and fracture, labelled by slice",
    "folder": "images/ and labels/ with a table of classes",
    "prediction-images": "images of new patients with the channels of a converted dataset",
    "dicom": "DICOM series to NIfTI in Hounsfield units, without patient data",
    "phantom": "make a synthetic head-CT cohort in the source layout of HemSeg-200 or PhysioNet CT-ICH",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a parser for each converter, with the options that the converter declares itself."""
    subparsers = parser.add_subparsers(title="converters", metavar="CONVERTER", required=True)
    for name, help_text in CONVERTERS.items():
        module = name.replace("-", "_")
        converter = importlib.import_module(f"nnunet_multitask.dataset_conversion.{module}")
        subparser = subparsers.add_parser(
            name,
            help=help_text,
            description=converter.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        # absent by default, so that --debug before the converter's name is not undone
        subparser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")
        subparser.add_argument("--json", action="store_true", help="print the summary as JSON")
        converter.add_arguments(subparser)
        subparser.set_defaults(convert=converter.run)


def run(args: argparse.Namespace) -> int:
    """Convert, print a summary and return 0."""
    from nnunet_multitask.dataset_conversion.script import format_summary, terminable

    with terminable():
        summary = args.convert(args)
    print(format_summary(summary, args.json))
    return 0
