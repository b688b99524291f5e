"""The corpus of what is kept out of a record, and of what must stay in it. It grows with each finding."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import runbase
from runbase.capture import environment
from runbase.capture.secrets import (
    HIDDEN,
    allowed,
    drop_secrets,
    mask_argv,
    mask_diff,
    mask_file,
    mask_text,
)

S = "hunter2-Tr0ub4dor"
"""A secret that no pattern knows by its form."""
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"

ARGUMENTS = [
    ["--password", S],
    ["--db-password=" + S],
    ["--wandb-key", S],
    ["--api_key", S],
    ["--hf-token", S],
    ["--token=" + S],
    ["PASSWORD=" + S],
    ["trainer.api_key=" + S],
    ["--conn", f"host=h user=u password={S} dbname=d"],
    ["--conn", f"host=h password='{S} and more'"],
    ["--conn", f'host=h password = "{S}"'],
    ["--dsn", f"host=h password={S}"],
    ["--url", f"postgresql://me:{S}@host/db"],
    ["--url=postgresql://me:{S}@host:5432/db?sslmode=require"],
    [f"postgres://me:p@ss/{S}@host/db"],
    [f"mysql+pymysql://root:{S}@h/db"],
    [f"https://h/x?token={S}&a=1"],
    [f"postgresql:///db?host=/tmp&password={S}"],
    ["--config", f'{{"lr": 0.1, "api_key": "{S}", "nested": {{"password": "{S}"}}}}'],
    ["--config", f"{{'secret': '{S}'}}"],
    ["--config", f'"{{\\"password\\": \\"{S}\\"}}"'],
    ["--header", f"Authorization: Bearer {S}"],
    ["-H", f"authorization: Basic {S}"],
    ["-H", f"X-Api-Key: {S}"],
    ["-H", f"Cookie: session={S}"],
    ["-u", f"user:{S}"],
    ["--auth", S],
    ["--passphrase", S],
    ["--client-secret", S],
    ["--aws-secret-access-key", S],
    ["--jwt", S],
]


@pytest.mark.parametrize("argv", ARGUMENTS, ids=str)
def test_secrets_of_command_lines(argv: list[str]) -> None:
    argv = [argument.replace("{S}", S) for argument in argv]
    shown = environment.command(["python", "train.py", *argv, "--lr", "0.1"])
    assert S not in str(shown)
    assert HIDDEN in str(shown)
    assert shown["options"]["lr"] == 0.1


PLAIN_ARGUMENTS = [
    ["--tokenizer", "bert-base"],
    ["--max-tokens", "512"],
    ["--max_new_tokens=64"],
    ["--eos-token", "</s>"],
    ["--token-dim", "16"],
    ["--author", "ada"],
    ["--monitor-key", "val/acc"],
    ["--sort-key", "loss"],
    ["--primary_key=id"],
    ["--keys", "a", "b"],
    ["--url", "http://localhost:8080/a@b"],
    ["--remote", "ssh://git@github.com/org/repo"],
    ["--lr=0.1", "--name", "x", "data.csv"],
    ["--config", '{"lr": 0.1, "tokens": 5, "key": "loss"}'],
    ["--passes", "3"],
    ["--compass", "north"],
    ["optimizer.kind=adam"],
    ["--time", "10:30:00"],
]


@pytest.mark.parametrize("argv", PLAIN_ARGUMENTS, ids=str)
def test_what_is_no_secret_stays(argv: list[str]) -> None:
    assert mask_argv(argv) == argv


def test_environments() -> None:
    environ = {
        "CUDA_VISIBLE_DEVICES": "0",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_CONFIG": "{}",
        "TOKENIZERS_PARALLELISM": "false",
        "RANK": "3",
        "MASTER_PORT": "29500",
        "SLURM_JOB_ID": "7",
        "HYDRA_X": f"host=h password={S}",
        "RUNBASE_STORE": f"postgresql://me:{S}@host/db",
        "RUNBASE_CAPTURE_ENV": "MY_SETTING, MY_PASSWORD",
        "MY_SETTING": "1",
        "MY_PASSWORD": S,
        "HOME": "/root",
        "SLURM_JWT": JWT,
        "SLURM_JWT_TOKEN": S,
        "TF_API_KEY": S,
        "TF_VAR_db_password": S,
        "TF_VAR_region": S,
        "TF_TOKEN_app_terraform_io": S,
        "TF_CLI_ARGS": f"-var x={S}",
        "TF_LOG": S,
        "RAY_ADDRESS_KEY": S,
        "RAY_KEY": S,
        "NCCL_NOTE": "sk-abcdefghijkl",
        "TORCH_NOTE": JWT,
        "AWS_SECRET_ACCESS_KEY": S,
    }
    kept = allowed(environ)
    assert S not in str(kept)
    assert JWT not in str(kept)
    assert kept == {
        "CUDA_VISIBLE_DEVICES": "0",
        "HYDRA_X": f"host=h password={HIDDEN}",
        "MASTER_PORT": "29500",
        "MY_SETTING": "1",
        "NCCL_NOTE": HIDDEN,
        "RANK": "3",
        "RUNBASE_CAPTURE_ENV": "MY_SETTING, MY_PASSWORD",
        "RUNBASE_STORE": f"postgresql://me:{HIDDEN}@host/db",
        "SLURM_JOB_ID": "7",
        "TF_CONFIG": "{}",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TOKENIZERS_PARALLELISM": "false",
        "TORCH_NOTE": HIDDEN,
    }
    assert drop_secrets({"A": "1", "B_TOKEN": "x"}) == {"A": "1"}


TEXTS = [
    f"could not connect to postgresql://me:{S}@host/db",
    f"could not connect to postgresql+asyncpg://me:p@ss{S}@host/db?x=1 now",
    f"401 for https://api/x with headers {{'Authorization': 'Bearer {S}'}}",
    f"Bearer {S}",
    f"connection to host=h password={S} failed",
    f'  File "x.py", line 3, in <module>\n    connect(password="{S}")\n',
    f"{{'api_key': '{S}'}}",
    f"token: {S}",
    f"AWS_SECRET_ACCESS_KEY={S}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{S}\n{S}\n-----END RSA PRIVATE KEY-----",
    f"-----BEGIN PRIVATE KEY-----\n{S}\n(cut off",
    f"https://user:{S}@github.com/x.git and https://other:{S}@h/",
]
FORMS = [
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "github_pat_11ABCDEFG0abcdefghij_abcdef",
    "glpat-abcdefghij0123456789",
    "xoxb-123456789012-abcdefghijkl",
    "sk-proj-abcdefghijklmnop0123",
    "sk_live_abcdefghijklmnop0123",
    "hf_abcdefghijklmnopqrst",
    "npm_abcdefghijklmnopqrstuvwxyz0123456789",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    JWT,
    "SG.abcdefghijklmnopqrst.abcdefghijklmnopqrstuvwxyz",
    "123456789:AAabcdefghijklmnopqrstuvwxyz0123456",
]


@pytest.mark.parametrize("text", TEXTS, ids=str)
def test_secrets_in_messages(text: str) -> None:
    masked = mask_text(text)
    assert S not in masked
    assert HIDDEN in masked
    assert mask_text(masked) == masked
    same = mask_text(text, same_length=True)
    assert S not in same
    assert len(same) == len(text)


@pytest.mark.parametrize("form", FORMS)
def test_tokens_of_known_form(form: str) -> None:
    for text in (form, f"got {form}, and", f"'{form}'", f"x={form}"):
        assert form not in mask_text(text)
        assert len(mask_text(text, same_length=True)) == len(text)


@pytest.mark.parametrize(
    "text",
    [
        "ValueError: shapes (3, 4) and (5,) not aligned",
        'KeyError: "loss"',
        "IndexError at key: 5",
        "unauthorised: the author is ada",
        'File "/home/u/sk-learn-pipelines/train.py", line 10, in step\n    loss = model(batch)\n',
        "http://localhost:8080/path and a@b.c",
        "tokens: 512, tokens_per_second=1043.5",
        "0123456789abcdef0123456789abcdef01234567 is a commit",
        "epoch=1: loss=0.5",
        "sqlite:////tmp/x.db",
    ],
)
def test_messages_without_secrets_stay(text: str) -> None:
    assert mask_text(text) == text


DIFF = f"""diff --git a/train.py b/train.py
--- a/train.py
+++ b/train.py
@@ -1,4 +1,6 @@
+import os
+password = "{S}"
+session = make_session(token=token)
+os.environ["API_KEY"] = '{S}'
+url = "postgresql://me:{S}@host/db"
 tokenizer = AutoTokenizer.from_pretrained("bert")
diff --git a/.env b/.env
--- a/.env
+++ b/.env
@@ -1 +1,2 @@
+DB_PASSWORD={S}
+LR=0.1
diff --git a/conf.yaml b/conf.yaml
+  api_key: {S}
+  lr: 0.1
"""


def test_a_diff_keeps_its_code() -> None:
    masked = mask_diff(DIFF)
    assert S not in masked
    for line in (
        "+session = make_session(token=token)",
        ' tokenizer = AutoTokenizer.from_pretrained("bert")',
        "+LR=0.1",
        "+  lr: 0.1",
        "+import os",
    ):
        assert line in masked.splitlines()
    assert len(masked.splitlines()) == len(DIFF.splitlines())


def test_long_texts_take_no_long_time() -> None:
    began = time.monotonic()
    for text in ("a" * 10**6, "a-" * 500_000, "password" * 100_000, "://:" * 200_000, "=" * 10**6):
        mask_text(text)
    mask_text(" " * 10**6 + "authorization" + " " * 10**6)
    assert time.monotonic() - began < 20


def test_a_file_is_masked_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    lines = [f"step {n} of café\n".encode() for n in range(50_000)]
    path.write_bytes(b"".join([*lines, f"password={S}\n".encode(), *lines]))
    size, inode = path.stat().st_size, path.stat().st_ino
    mask_file(path)
    assert (path.stat().st_size, path.stat().st_ino) == (size, inode)
    assert S.encode() not in path.read_bytes()
    assert path.read_bytes().startswith(b"".join(lines))
    assert path.read_bytes().endswith(b"".join(lines))


SCRIPT = """
import os, runbase, sys
secret = sys.argv[2]
with runbase.start_run("secrets", home=sys.argv[1]) as run:
    print("connecting to postgresql://me:" + secret + "@host/db", flush=True)
    run.log({"loss": 1.0})
    if len(sys.argv) > 5:
        os.kill(os.getpid(), 9)
    raise RuntimeError("cannot reach https://me:" + secret + "@host with Bearer " + secret)
"""


@pytest.mark.parametrize("kill", [[], ["kill"]], ids=["raised", "killed"])
def test_nothing_in_a_home_holds_a_secret(tmp_path: Path, home: Path, kill: list[str]) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=n", "-c", "user.email=e@x"]
        subprocess.run(
            ["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True
        )

    (tmp_path / ".gitignore").write_text(".runbase\n")
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "conf.py").write_text("x = 1\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    (tmp_path / "conf.py").write_text(f'password = "{S}"\n')
    done = subprocess.run(
        [sys.executable, "train.py", str(home), S, "--wandb-key", S, *kill],
        cwd=tmp_path,
        env={**os.environ, "SLURM_JWT": S, "TF_VAR_x": S, "HYDRA_X": f"password={S}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    with runbase.open(home=home) as store:
        (run,) = store.runs()
        assert run.status == ("NODE_FAIL" if kill else "FAILED")
        if not kill:
            assert run.error is not None
            assert HIDDEN in run.error["message"]
            assert run.git["diff_masked"] is True
    # The second argument has no name that says what it is: it is the only place.
    for path in home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert content.count(S.encode()) == content.count(f'"{home}","{S}"'.encode()), path


def test_errors_and_representations(tmp_path: Path) -> None:
    from runbase.settings import load

    settings = load(store=f"postgresql://me:{S}@127.0.0.1:1/db")
    assert S not in repr(settings)
    assert S not in repr(settings.values)
    for url in (
        f"postgresql://me:{S}@127.0.0.1:1/db",
        f"postgresql://me:{S}@[::1/db",
        f"postgresql://127.0.0.1:1/db?password={S}",
        f"postgresql://me:{S}@h/db?nonsense=1",
        f"postgres//me:{S}@h/db",
        f"mysql://me:{S}@h/db",
    ):
        with pytest.raises(runbase.RunbaseError) as raised:
            runbase.open(url)
        assert S not in str(raised.value)
        assert S not in repr(raised.value)
    assert not list(tmp_path.rglob("*db"))
