"""ROC AUC with the lungs hidden, or with all else hidden, by masks that people drew.

    python benchmarks/lungs_hidden.py --model models/resnet50 --data DIR --masks DIR --fold test

The rows are those of the model card (`xray_core.training.robustness.measure_hidden`): the network
gets the whole image, without a crop to the lungs and without the input check.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.reporting import images_of_fold, parser, print_table
from xray_core import Predictor
from xray_core.command_line import run_command
from xray_core.evaluation.tables import estimate_from_json
from xray_core.labels import PNEUMONIA
from xray_core.training.data import ImageSet, read_image
from xray_core.training.masks import find_masks
from xray_core.training.robustness import measure_hidden, read_masks


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, folds=("validation", "test"))
    options.add_argument("--masks", metavar="DIR", help="default: $LUNG_MASKS_DIR")
    arguments = options.parse_args()
    folder, index = images_of_fold(arguments.data, arguments.fold)
    masks = read_masks(find_masks(arguments.masks), index)
    predictor = Predictor.load(arguments.model)
    pixels = np.stack([read_image(folder / path)[1] for path in index["path"]]).astype(np.uint8)
    images = ImageSet(index, pixels, (index["label"] == PNEUMONIA).to_numpy(np.float32))

    import keras

    to_logit = keras.Model(predictor.network.inputs, predictor.network.get_layer("logit").output)

    def predict_logits(images: ImageSet) -> np.ndarray:
        return to_logit.predict(images.pixels.astype(np.float32), batch_size=32, verbose=0)[:, 0]

    measured = measure_hidden(images, masks, predict_logits, predictor.calibration)
    rows = [
        {
            "images": row["name"],
            "ROC AUC": estimate_from_json(row["roc_auc"]),
            "sensitivity": row["sensitivity"],
            "specificity": row["specificity"],
            "other result": row["other_verdict"],
            "firm": row["firm"],
        }
        for row in measured["hidden"]
    ]
    note = (
        f"{arguments.fold}: {measured['hidden'][0]['images']} images; without a mask and left out: "
        f"{measured['masks']['left_out']}."
    )
    print_table(predictor, rows, as_json=arguments.json, note=note)


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
