"""transformers' Trainer with `RunbaseCallback`: what `log_history` has, the store must have."""

import pytest

import runbase
from tests.environments.integrations.conftest import RunScript, points

MODEL = """
import json, torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments
import runbase, runbase.integrations.transformers as adapter

torch.manual_seed(0)
def made(*args): return GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=16, n_embd=8, n_layer=1, n_head=2))
rows = [{"input_ids": list(range(8)), "labels": list(range(8))} for _ in range(32)]
def trainer(**options):
    callbacks = options.pop("callbacks", None)
    more = {"model": made()} if "model_init" not in options else {"model_init": options.pop("model_init")}
    data = options.pop("data", rows)
    arguments = TrainingArguments("out", max_steps=12, logging_steps=3, learning_rate=0.25, eval_strategy="steps",
        eval_steps=6, per_device_train_batch_size=4, use_cpu=True, disable_tqdm=True, **options)
    return Trainer(**more, args=arguments, train_dataset=data, eval_dataset=rows[:8], callbacks=callbacks)
"""


def test_every_figure_is_at_its_step(run_script: RunScript, store: runbase.Store) -> None:
    answer = run_script(
        MODEL
        + """
one = trainer(report_to="runbase", run_name="tiny")
one.train()
one.evaluate()
one.predict(rows[:8])
print(json.dumps({"logged": one.state.log_history}))
""",
        RUNBASE_EXPERIMENT="text",
    )
    (run,) = store.runs()
    assert (run.name, run.experiment, run.status.value) == ("tiny", "text", "COMPLETED")
    assert (run.params["learning_rate"], run.params["n_embd"]) == (0.25, 8)
    assert run.params["num_parameters"] > 100
    logged = answer["logged"]
    for ours, theirs in {
        "train/loss": "loss",
        "train/grad_norm": "grad_norm",
        "train/learning_rate": "learning_rate",
        "train/epoch": "epoch",
        "eval/loss": "eval_loss",
        "train_loss": "train_loss",
    }.items():
        wanted = [(row["step"], row[theirs]) for row in logged if theirs in row]
        assert wanted
        assert points(store, run, ours) == wanted, ours
    assert run.metrics["test/loss"].count == 1


def test_an_exception_fails_the_run(run_script: RunScript, store: runbase.Store) -> None:
    """The Trainer has no hook for it: the end of the process tells."""
    run_script(
        MODEL
        + """
class Data(list):
    def __getitem__(self, place):
        if seen.append(place) or len(seen) > 20: raise ValueError("a damaged row")
        return super().__getitem__(place)
seen = []
trainer(callbacks=[adapter.RunbaseCallback("text")], data=Data(rows)).train()
""",
        fails=True,
    )
    (run,) = store.runs()
    assert run.status.value == "FAILED"
    assert run.error is not None
    assert (run.error["type"], run.error["message"]) == ("ValueError", "a damaged row")
    assert "__getitem__" in run.error["traceback"]


@pytest.mark.parametrize(("kind", "steps"), [("True", {4, 12}), ('"all"', {4, 8, 12})])
def test_checkpoints(
    run_script: RunScript, store: runbase.Store, kind: str, steps: set[int]
) -> None:
    """With a growing loss the first checkpoint is the best one."""
    run_script(
        MODEL.replace("eval_steps=6", "eval_steps=4, save_steps=4")
        + f"""
trainer(callbacks=[adapter.RunbaseCallback("text", log_model={kind})], metric_for_best_model="loss",
    greater_is_better=True).train()
"""
    )
    (run,) = store.runs()
    kept = [a for a in store.run(run.id).artifacts if a.kind == "checkpoint"]
    assert {a.step for a in kept} == steps
    assert {a.step for a in kept if a.metadata["best"]} == {4}
    assert any(a.path.endswith("model.safetensors") for a in kept)
    (score,) = {a.metadata["metrics"]["eval/loss"] for a in kept if a.step == 4}
    assert score == dict(points(store, run, "eval/loss"))[4]


def test_resume_continues_the_run(run_script: RunScript, store: runbase.Store) -> None:
    script = MODEL.replace("eval_steps=6", "eval_steps=6, save_steps=6")
    begin = 'trainer(callbacks=[adapter.RunbaseCallback("text", run_id="the-run")]).train({})\n'
    run_script(script.replace("max_steps=12", "max_steps=6") + begin.format(""))
    run_script(script + begin.format('resume_from_checkpoint="out/checkpoint-6"'))
    (run,) = store.runs()
    assert run.id == "the-run"
    assert [step for step, _ in points(store, run, "train/loss")] == [3, 6, 9, 12]


def test_each_trial_of_a_search_is_a_child(run_script: RunScript, store: runbase.Store) -> None:
    run_script(
        MODEL
        + """
one = trainer(callbacks=[adapter.RunbaseCallback("search")], model_init=made)
one.hyperparameter_search(lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-1)},
    n_trials=3, direction="minimize")
"""
    )
    (parent,) = store.runs("parent_id is null")
    trials = store.runs("parent_id is not null")
    assert len(trials) == 3
    assert {run.parent_id for run in trials} == {parent.id}
    assert {run.status.value for run in [parent, *trials]} == {"COMPLETED"}
    assert len({run.params["learning_rate"] for run in trials}) == 3
    for run in trials:
        assert [step for step, _ in points(store, run, "train/loss")] == [3, 6, 9, 12]


def test_two_processes_log_once(run_script: RunScript, store: runbase.Store) -> None:
    run_script(
        """
import subprocess, sys, os
path = os.path.abspath("train.py")
open(path, "w").write(MODEL + '''
trainer(callbacks=[adapter.RunbaseCallback("text")]).train()
''')
subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", path], check=True,
    env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"})
""".replace("MODEL", repr(MODEL))
    )
    (run,) = store.runs()
    assert [step for step, _ in points(store, run, "train/loss")] == [3, 6, 9, 12]
    assert not [key for key in run.metrics if "rank" in key]
    assert run.status.value == "COMPLETED"
