"""One image analysed by several models."""

from collections.abc import Iterable
from dataclasses import dataclass

from xray_core.errors import XrayError
from xray_core.model.gate import Outcome
from xray_core.prediction.explain import check_method
from xray_core.prediction.inputs import PreparedInput, Source, prepare_input
from xray_core.prediction.predictor import Predictor
from xray_core.prediction.result import Prediction

NOT_INDEPENDENT = (
    "Models trained on the same images tend to make the same errors, so their agreement is not "
    "independent evidence."
)


@dataclass(frozen=True)
class ModelRow:
    """The result of one model.

    Attributes
    ----------
    name, version
        The model.
    prediction
        Its result; None if it failed.
    problem
        Why it failed, a sentence; "" if it did not.
    """

    name: str
    version: str
    prediction: Prediction | None
    problem: str = ""

    @property
    def shown_as(self) -> str:
        """The result in words, "" if the model failed."""
        return self.prediction.shown_as if self.prediction else ""

    @property
    def probability(self) -> float | None:
        """The probability of pneumonia in [0, 1], None without one."""
        return self.prediction.probability if self.prediction else None

    @property
    def gate(self) -> Outcome | None:
        """The outcome of the input check, None if the model failed."""
        return self.prediction.gate if self.prediction else None

    @property
    def cautions(self) -> tuple[str, ...]:
        """The cautions, the reasons of a refusal, or why the model failed."""
        return self.prediction.reasons if self.prediction else (self.problem,)


def compare_models(
    source: Source | PreparedInput, predictors: Iterable[Predictor], *, explain: str | None = None
) -> list[ModelRow]:
    """Analyse one image with several models; it is decoded once.

    Parameters
    ----------
    source, explain
        As for `Predictor.predict`.
    predictors
        The models, used one after the other.

    Returns
    -------
    list of ModelRow
        One row per model, in their order. A model that fails has a row with the reason.

    Raises
    ------
    UnreadableImage
        The source cannot be read.
    ValueError
        The method of the map is unknown.
    """
    if explain is not None:
        check_method(explain)
    prepared = prepare_input(source)
    return [_row(prepared, predictor, explain) for predictor in predictors]


def describe_comparison(rows: list[ModelRow]) -> str:
    """Return which models agree, and what their agreement is worth, in sentences."""
    by_result: dict[str, list[str]] = {}
    for row in rows:
        if row.prediction is not None:
            by_result.setdefault(row.shown_as, []).append(row.name)
    analysed = sum(map(len, by_result.values()))
    failed = len(rows) - analysed
    sentences = []
    if analysed == 1:
        sentences.append("One model gave a result, so there is no comparison.")
    elif len(by_result) == 1:
        models = "Both models" if analysed == 2 else f"All {analysed} models"
        sentences.append(f"{models}: {next(iter(by_result))}. {NOT_INDEPENDENT}")
    elif by_result:
        parts = [f"{shown_as} ({', '.join(names)})" for shown_as, names in by_result.items()]
        sentences.append(f"The models differ: {'; '.join(parts)}.")
    if failed:
        sentences.append(f"{failed} of {len(rows)} models failed.")
    return " ".join(sentences)


def _row(prepared: PreparedInput, predictor: Predictor, explain: str | None) -> ModelRow:
    name, version = predictor.bundle.name, predictor.bundle.version
    try:
        return ModelRow(name, version, predictor.predict(prepared, explain=explain))
    except XrayError as error:
        problem = str(error)
    except MemoryError:
        problem = "There is not enough memory for this model."
    except Exception as error:
        problem = f"The model failed with an internal error ({type(error).__name__})."
    return ModelRow(name, version, None, problem)
