import { useEffect, useState } from "preact/hooks";
import { get, type Schemas } from "../api/client";
import { follow } from "../api/live";
import { copy } from "../parts/toast";

/** What an empty store shows: the lines that start a run here. It goes away when the first run arrives. */
export function Welcome({ experiment, onFirst }: { experiment: string | null; onFirst?: () => void }) {
  const [about, setAbout] = useState<Schemas["About"] | null>(null);
  useEffect(() => {
    get<Schemas["About"]>("/api/server").then(setAbout, () => undefined);
    return follow({ columns: ["name"] }, { runs: () => (onFirst ? onFirst() : window.location.reload()) });
  }, []);
  const store = new URL(document.baseURI).href.replace(/\/$/, "");
  const code = [
    "import runbase",
    "",
    `store = "${store}"`,
    `with runbase.start_run(${JSON.stringify(experiment ?? "first")}, store=store, params={"lr": 0.01}) as run:`,
    "    for step in range(100):",
    '        run.log({"loss": 1 / (step + 1)})',
  ].join("\n");
  return (
    <div class="nothing welcome">
      <h2>{experiment ? `${experiment} has no runs yet` : "No runs yet"}</h2>
      <p>Start one. It appears here at once.</p>
      <pre>{code}</pre>
      <button type="button" class="accent" onClick={() => void copy(code, "Code")}>
        copy
      </button>
      <p class="soft after">
        Or run <code>runbase demo</code>, or import what you have: <code>runbase import wandb</code>, <code>mlflow</code>,{" "}
        <code>tensorboard</code>, <code>table</code>.
      </p>
      {about && <p class="soft">runbase {about.version}, {about.dialect}, {store}</p>}
    </div>
  );
}
