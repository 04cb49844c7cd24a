"""CLAIM 2024 and TRIPOD+AI against this report: which items it fills, and which stay with the author of a paper.

The items are named by their number and a few words of our own; their text is in the guidelines. The numbers are those
of these versions: CLAIM of 2020 has 42 items and TRIPOD of 2015 has 22, both numbered otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Filled = Literal["report", "partly", "author"]

FILLED_TITLES: dict[Filled, str] = {
    "report": "the report",
    "partly": "the report in part, the author the rest",
    "author": "the author",
}


@dataclass(frozen=True)
class Item:
    """An item of a guideline: number, topic in our words, who fills it, and the section of the report that does."""

    number: str
    topic: str
    filled: Filled
    section: str = ""


@dataclass(frozen=True)
class Guideline:
    """A guideline of one version: name, where it was published, items in order."""

    name: str
    source: str
    items: tuple[Item, ...]


def _author(number: str, topic: str) -> Item:
    return Item(number, topic, "author")


CLAIM = Guideline(
    "CLAIM 2024",
    "Checklist for Artificial Intelligence in Medical Imaging, 2024 update (44 items): Tejani et al., Radiology: "
    "Artificial Intelligence 6(4), 2024, doi 10.1148/ryai.240300.",
    (
        _author("1", "title names the kind of AI"),
        _author("2", "abstract with design, methods, results"),
        _author("3", "clinical background and intended use"),
        _author("4", "aims and hypotheses"),
        _author("5", "prospective or retrospective"),
        _author("6", "goal of the study"),
        _author("7", "sources of the data"),
        _author("8", "who was included and excluded"),
        _author("9", "preprocessing of images and labels"),
        _author("10", "selection of parts of the data"),
        _author("11", "de-identification"),
        Item("12", "missing data", "partly", "flow"),
        _author("13", "how images were acquired"),
        _author("14", "what the reference standard is"),
        _author("15", "why this reference standard"),
        _author("16", "who made the reference annotations"),
        _author("17", "how the test set was annotated"),
        _author("18", "agreement between and within annotators"),
        _author("19", "how cases were split"),
        Item("20", "level at which the parts are disjoint (patient, scan)", "partly", "limits"),
        _author("21", "intended number of cases"),
        Item("22", "the model: inputs, outputs, architecture", "partly", "compared"),
        Item("23", "software and versions", "partly", "compared"),
        _author("24", "how weights were initialised"),
        _author("25", "training: augmentation, hyper-parameters, number of models"),
        _author("26", "how the final model was chosen"),
        Item("27", "ensembles", "partly", "compared"),
        Item("28", "metrics of performance, beside those of published models", "report", "definitions"),
        Item("29", "tests and uncertainty", "report", "definitions"),
        Item("30", "robustness: other kinds of cases", "partly", "strata"),
        _author("31", "explainability"),
        Item("32", "evaluation on internal data", "partly", "headline"),
        Item("33", "testing on external data", "partly", "headline"),
        _author("34", "registration of the study"),
        Item("35", "flow of cases with numbers", "partly", "flow"),
        _author("36", "demographic and clinical characteristics of each part"),
        Item("37", "performance with uncertainty", "report", "headline"),
        Item("38", "diagnostic accuracy and its precision", "report", "classification"),
        Item("39", "failures looked at", "partly", "pictures"),
        Item("40", "limitations", "partly", "limits"),
        _author("41", "meaning for practice"),
        _author("42", "where the protocol is"),
        _author("43", "availability of software, model and data"),
        _author("44", "funding"),
    ),
)

TRIPOD_AI = Guideline(
    "TRIPOD+AI 2024",
    "TRIPOD+AI statement (27 items, 52 with their parts): Collins et al., BMJ 385, 2024, doi 10.1136/bmj-2023-078378.",
    (
        _author("1", "title names population, outcome, development or evaluation"),
        _author("2", "abstract by its own checklist"),
        _author("3a", "health care context and earlier models"),
        _author("3b", "intended population, users and place in care"),
        _author("3c", "known inequalities in health"),
        _author("4", "objectives"),
        _author("5a", "sources of the data"),
        _author("5b", "dates of the data"),
        _author("6a", "setting and centres"),
        _author("6b", "who was eligible"),
        _author("6c", "treatments"),
        _author("7", "preparation of the data"),
        _author("8a", "outcome and how it was assessed"),
        _author("8b", "who assessed a subjective outcome"),
        _author("8c", "blinding of the assessment"),
        _author("9a", "choice of predictors (here: the images)"),
        _author("9b", "predictors defined"),
        _author("9c", "who assessed subjective predictors"),
        _author("10", "sample size"),
        Item("11", "missing data", "partly", "flow"),
        _author("12a", "how the data were used"),
        _author("12b", "handling of predictors"),
        Item("12c", "type of model, how it was built", "partly", "compared"),
        _author("12d", "heterogeneity between clusters"),
        Item("12e", "measures of performance", "report", "definitions"),
        Item("12f", "updating of the model, such as recalibration", "partly", "calibration"),
        Item("12g", "how predictions were made in the evaluation", "partly", "compared"),
        _author("13", "class imbalance in training"),
        _author("14", "fairness of the approach"),
        Item("15", "output of the model: probabilities, thresholds", "partly", "classification"),
        _author("16", "differences between development and evaluation data"),
        _author("17", "ethical approval"),
        _author("18a", "funding"),
        _author("18b", "conflicts of interest"),
        _author("18c", "protocol"),
        _author("18d", "registration"),
        _author("18e", "sharing of data"),
        _author("18f", "sharing of code"),
        _author("19", "involvement of patients and the public"),
        Item("20a", "flow of participants, with and without the outcome", "partly", "flow"),
        _author("20b", "characteristics of participants"),
        _author("20c", "distribution of predictors against the development data"),
        Item("21", "participants and outcomes in each analysis", "partly", "flow"),
        Item("22", "the full model, for use by others", "partly", "compared"),
        Item("23a", "performance with intervals, in key subgroups too", "report", "strata"),
        _author("23b", "heterogeneity of performance between clusters"),
        Item("24", "results of updating", "partly", "calibration"),
        _author("25", "interpretation, fairness included"),
        Item("26", "limitations", "partly", "limits"),
        _author("27a", "poor or missing input in use"),
        _author("27b", "what users must do and know"),
        _author("27c", "next steps of research"),
    ),
)

GUIDELINES = (CLAIM, TRIPOD_AI)
