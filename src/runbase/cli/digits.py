"""The training script of the demo: a small network on scikit-learn's handwritten digits.

It is written like a user's script; `python -m runbase.cli.digits --help` lists its options.
"""

# pyright: basic
# The types of scikit-learn are incomplete.

import argparse
import pickle
import tempfile
from pathlib import Path
from typing import Any

import runbase


def main() -> None:
    """Train one model and log it."""
    parser = argparse.ArgumentParser(description="Train a small network on handwritten digits.")
    parser.add_argument("--hidden", type=int, default=64, help="units in the hidden layer")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with runbase.start_run("digits", params=vars(options), tags=["demo"]) as run:
        train(run, options)


def train(run: "runbase.Run", options: argparse.Namespace) -> None:
    """Train with mini-batches, and validate after each epoch."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.metrics import accuracy_score, log_loss
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    images, labels = load_digits(return_X_y=True)
    x, x_val, y, y_val = train_test_split(
        images / 16.0, labels, test_size=0.25, random_state=0, stratify=labels
    )
    model: Any = MLPClassifier(
        hidden_layer_sizes=(options.hidden,),
        learning_rate_init=options.lr,
        random_state=options.seed,
    )
    random = np.random.default_rng(options.seed)
    classes = np.unique(labels)
    step, accuracy = 0, 0.0
    for epoch in range(options.epochs):
        order = random.permutation(len(x))
        for start in range(0, len(x) - options.batch_size + 1, options.batch_size):
            batch = order[start : start + options.batch_size]
            model.partial_fit(x[batch], y[batch], classes=classes)
            share = model.predict_proba(x[batch])
            run.log(
                {
                    "train/loss": log_loss(y[batch], share, labels=classes),
                    "train/accuracy": (share.argmax(axis=1) == y[batch]).mean(),
                },
                step=step,
            )
            step += 1
        share = model.predict_proba(x_val)
        accuracy = accuracy_score(y_val, share.argmax(axis=1))
        run.log({"val/loss": log_loss(y_val, share), "val/accuracy": accuracy}, step=step - 1)
        print(f"epoch {epoch + 1:2d}  validation accuracy {accuracy:.4f}")
    run.log_image("confusion", confusion(y_val, model.predict(x_val)), step=step - 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pkl"
        path.write_bytes(pickle.dumps(model))
        run.log_artifact(path, kind="model", step=step - 1, metadata={"accuracy": accuracy})


def confusion(truth: Any, guess: Any) -> Any:
    """Return the confusion matrix as a figure."""
    from matplotlib.figure import Figure
    from sklearn.metrics import ConfusionMatrixDisplay

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    ConfusionMatrixDisplay.from_predictions(truth, guess, ax=axes, colorbar=False, cmap="Blues")
    return figure


if __name__ == "__main__":
    main()
