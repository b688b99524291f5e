"""Tunes a network that reads handwritten digits, with Optuna on runbase: python tune.py [TRIALS]

Start it again, or in several terminals, and all go on with one study. RUNBASE_STORE names a database for a team.
"""

import sys
import warnings

import optuna
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import runbase
from runbase.integrations.optuna import RunbaseStorage

EPOCHS = 12


def main(trials: int = 40) -> None:
    """Tune, and say what was found."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    data, labels = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(data, labels, random_state=0)
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)

    def accuracy(trial: optuna.Trial) -> float:
        model = MLPClassifier(
            hidden_layer_sizes=[trial.suggest_int("width", 8, 128, log=True)]
            * trial.suggest_int("depth", 1, 3),
            learning_rate_init=trial.suggest_float("lr", 1e-4, 1e-1, log=True),
            alpha=trial.suggest_float("alpha", 1e-6, 1e-1, log=True),
            solver=trial.suggest_categorical("solver", ["adam", "sgd"]),
            random_state=trial.number,
        )
        score = 0.0
        for epoch in range(EPOCHS):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.partial_fit(train, train_labels, classes=range(10))
            score = float(model.score(test, test_labels))
            trial.report(score, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return score

    study = optuna.create_study(
        study_name="digits",
        storage=RunbaseStorage(),
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=1),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=8, n_warmup_steps=2),
        load_if_exists=True,
    )
    study.optimize(accuracy, n_trials=trials)

    with runbase.open() as store:  # the same record, without Optuna
        experiment = store.experiment("digits")
        counts = store.sql(
            "select status, count(*) from trials where experiment = 'digits' group by status order by 2 desc"
        )
        print(", ".join(f"{count} {status}" for status, count in counts))
        [best] = experiment.best_trials()
        print(f"trial {best.number}: accuracy {best.values['value']:.4f}")
        for key, value in best.params.items():
            print(f"    {key:8} {value}")
        curves = store.metrics_frame(
            experiment.trials("status = 'COMPLETED'"), "intermediate_value"
        )
        spread = curves.groupby("step")["value"].describe()[["min", "50%", "max"]]
        print("accuracy by epoch:", spread.iloc[[0, -1]].round(3).to_string(), sep="\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
