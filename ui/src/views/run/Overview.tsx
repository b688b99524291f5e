import { useEffect, useState } from "preact/hooks";
import type { Schemas } from "../../api/client";
import { fetchCurves, type Curve } from "../../api/curves";
import { sized } from "../../charts/LineChart";
import { duration, moment, number, value } from "../../parts/format";
import { Markdown } from "../../parts/Markdown";
import { Link } from "../../parts/Link";
import { colour, colours } from "../../state/theme";
import type { RunRecord } from "../../api/types";

interface Props {
  run: RunRecord;
  records: Schemas["MediaRecord"][];
  onChange: (body: Record<string, unknown>) => Promise<void>;
  tick: number;
}

/** Notes, error, parameters, metrics, and where the run is. */
export function Overview({ run, onChange, tick }: Props) {
  return (
    <div class="overview">
      {run.error && <Failure error={run.error as Record<string, string>} />}
      {run.status === "NODE_FAIL" && <Lost run={run} />}
      <div class="columns">
        <div>
          <Notes run={run} onChange={onChange} />
          <Tags run={run} onChange={onChange} />
          <Where run={run} />
        </div>
        <Params run={run} />
      </div>
      <Metrics run={run} tick={tick} />
    </div>
  );
}

function Failure({ error }: { error: Record<string, string> }) {
  return (
    <section class="failure" aria-label="error">
      <b>{error.type}</b>
      {error.message ? `: ${error.message}` : ""}
      {error.traceback && (
        <details>
          <summary>traceback</summary>
          <pre>{error.traceback}</pre>
        </details>
      )}
    </section>
  );
}

/** Why a run counts as lost, and how it goes on. */
function Lost({ run }: { run: RunRecord }) {
  const reason = run.history?.findLast((one) => one.status === "NODE_FAIL")?.reason;
  return (
    <section class="failure" aria-label="lost">
      <b>This run was lost</b>
      {reason ? `: ${reason}.` : "."} What it logged is complete. To continue it: <code>runbase.start_run(resume={JSON.stringify(run.name)})</code>
    </section>
  );
}

function Notes({ run, onChange }: Pick<Props, "run" | "onChange">) {
  const [editing, setEditing] = useState(false);
  return (
    <section>
      <h2>
        Notes{" "}
        <button type="button" class="plain" onClick={() => setEditing(!editing)}>
          {editing ? "cancel" : "edit"}
        </button>
      </h2>
      {editing ? (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            const notes = String(new FormData(event.currentTarget).get("notes") ?? "");
            void onChange({ notes }).then(() => setEditing(false));
          }}
        >
          <textarea name="notes" rows={6} aria-label="notes, in Markdown" autofocus>
            {run.notes}
          </textarea>
          <button class="accent">save</button>
        </form>
      ) : run.notes ? (
        <Markdown text={run.notes} />
      ) : (
        <p class="soft">none</p>
      )}
    </section>
  );
}

function Tags({ run, onChange }: Pick<Props, "run" | "onChange">) {
  return (
    <section>
      <h2>Tags</h2>
      <div class="tags">
        {Object.entries(run.tags).map(([key, text]) => (
          <span class="tag" key={key}>
            {text ? `${key}=${text}` : key}
            <button type="button" class="plain" aria-label={`remove the tag ${key}`} onClick={() => void onChange({ tags: { [key]: null } })}>
              ×
            </button>
          </span>
        ))}
        <form
          onSubmit={(event) => {
            event.preventDefault();
            const field = event.currentTarget.elements.namedItem("tag") as HTMLInputElement;
            const [key = "", ...rest] = field.value.split("=");
            if (key.trim()) void onChange({ tags: { [key.trim()]: rest.join("=").trim() } });
            field.value = "";
          }}
        >
          <input name="tag" size={14} placeholder="add a tag" aria-label="add a tag: name, or name=value" />
        </form>
      </div>
    </section>
  );
}

function Params({ run }: { run: RunRecord }) {
  const [find, setFind] = useState("");
  const rows = Object.entries(run.params)
    .filter(([key]) => key.toLowerCase().includes(find.toLowerCase()))
    .sort(([a], [b]) => a.localeCompare(b, undefined, { numeric: true }));
  return (
    <section>
      <h2>
        Parameters <span class="soft">{Object.keys(run.params).length}</span>
      </h2>
      {Object.keys(run.params).length > 12 && (
        <input type="search" aria-label="find a parameter" placeholder="find" value={find} onInput={(event) => setFind(event.currentTarget.value)} />
      )}
      {!rows.length && <p class="soft">none</p>}
      <table class="list pairs">
        <tbody>
          {rows.map(([key, one]) => (
            <tr key={key}>
              <th scope="row">{key}</th>
              <td class="number left">{value(one)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Where({ run }: { run: RunRecord }) {
  const slurm = (run.system as Record<string, unknown>).slurm as Record<string, string> | undefined;
  const git = run.git as Record<string, unknown>;
  const rows: [string, string | null][] = [
    ["started", run.started_at ? moment(run.started_at) : null],
    ["ended", run.ended_at ? moment(run.ended_at) : null],
    ["took", run.started_at ? duration(((run.ended_at ? new Date(run.ended_at) : new Date()).getTime() - new Date(run.started_at).getTime()) / 1000) : null],
    ["machine", run.host ? `${run.host}${run.pid ? `, process ${run.pid}` : ""}` : null],
    ["user", run.user],
    ["Slurm job", slurm ? Object.entries(slurm).map(([key, one]) => `${key} ${one}`).join(", ") : null],
    ["git", git.commit ? `${String(git.commit).slice(0, 10)}${git.dirty ? " + changes" : ""}${git.branch ? ` on ${String(git.branch)}` : ""}` : null],
    ["trial", run.queued_at ? `attempt ${run.attempt}${run.runner ? `, by ${run.runner}` : ""}` : null],
    ["exit code", run.exit_code === null || run.exit_code === undefined ? null : String(run.exit_code)],
    ["folder", run.folder],
    ["id", run.id],
  ];
  return (
    <section>
      <h2>Where and when</h2>
      <table class="list pairs">
        <tbody>
          {rows
            .filter(([, text]) => text)
            .map(([label, text]) => (
              <tr key={label}>
                <th scope="row">{label}</th>
                <td class="wrap">{text}</td>
              </tr>
            ))}
        </tbody>
      </table>
    </section>
  );
}

function Metrics({ run, tick }: { run: RunRecord; tick: number }) {
  const [curves, setCurves] = useState<Record<string, Curve>>({});
  const metrics = Object.values(run.metrics);
  const keys = metrics.slice(0, 60).map((one) => one.key);
  useEffect(() => {
    if (!keys.length) return;
    const abort = new AbortController();
    fetchCurves({ series: keys.map((key) => [run.id, key]), columns: 120 }, abort.signal).then(
      (found) => setCurves(Object.fromEntries(found.curves.map((one) => [one.key, one]))),
      () => undefined,
    );
    return () => abort.abort();
  }, [run.id, keys.join(), tick]);
  if (!metrics.length) return null;
  return (
    <section>
      <h2>
        Metrics <span class="soft">{metrics.length}</span>
      </h2>
      <div class="scroll">
        <table class="list">
          <thead>
            <tr>
              <th>name</th>
              <th>curve</th>
              <th class="number">last</th>
              <th class="number">at step</th>
              <th class="number">least</th>
              <th class="number">at step</th>
              <th class="number">greatest</th>
              <th class="number">at step</th>
              <th class="number">points</th>
            </tr>
          </thead>
          <tbody>
            {metrics.map((one) => (
              <tr key={one.key}>
                <td>
                  <Link to={`/run/${run.id}/charts`}>{one.key}</Link>
                  {one.nans > 0 && <span class="badge bad spaced">{one.nans} NaN</span>}
                </td>
                <td>{curves[one.key] && <Spark curve={curves[one.key]!} />}</td>
                <td class="number">{one.last === null ? (one.nans > 0 ? "NaN" : "") : number(one.last)}</td>
                <td class="number soft">{one.last_step === null ? "" : number(one.last_step)}</td>
                <td class="number">{one.min === null ? "" : number(one.min)}</td>
                <td class="number soft">{one.min_step === null ? "" : number(one.min_step)}</td>
                <td class="number">{one.max === null ? "" : number(one.max)}</td>
                <td class="number soft">{one.max_step === null ? "" : number(one.max_step)}</td>
                <td class="number">{number(one.count)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

const WIDTH = 120;
const HEIGHT = 22;

/** A curve without axes. */
export function Spark({ curve }: { curve: Curve }) {
  const version = colours.value;
  const [canvas, setCanvas] = useState<HTMLCanvasElement | null>(null);
  useEffect(() => {
    if (!canvas) return;
    const context = sized(canvas, WIDTH, HEIGHT);
    let low = Infinity;
    let high = -Infinity;
    for (let i = 0; i < curve.x.length; i++) {
      if (Number.isFinite(curve.low[i])) low = Math.min(low, curve.low[i]!);
      if (Number.isFinite(curve.high[i])) high = Math.max(high, curve.high[i]!);
    }
    if (low > high) return;
    const first = curve.x[0] ?? 0;
    const wide = (curve.x[curve.x.length - 1] ?? 1) - first || 1;
    const x = (place: number) => 2 + ((curve.x[place]! - first) / wide) * (WIDTH - 4);
    const y = (some: number) => HEIGHT - 3 - ((some - low) / (high - low || 1)) * (HEIGHT - 6);
    context.strokeStyle = colour("--accent");
    context.lineWidth = 1.2;
    context.beginPath();
    let open = false;
    for (let i = 0; i < curve.x.length; i++) {
      if (!Number.isFinite(curve.low[i]) || !Number.isFinite(curve.high[i])) continue;
      if (open) context.lineTo(x(i), y(curve.low[i]!));
      else context.moveTo(x(i), y(curve.low[i]!));
      if (curve.high[i] !== curve.low[i]) context.lineTo(x(i), y(curve.high[i]!));
      open = true;
    }
    context.stroke();
  }, [canvas, curve, version]);
  return <canvas ref={setCanvas} aria-hidden="true" />;
}
