import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useState } from "preact/hooks";
import { ApiError, get, post, type Schemas } from "../api/client";
import { useChanges } from "../api/useChanges";
import { PointPlot } from "../charts/PointPlot";
import { number, plural, value } from "../parts/format";
import { Link } from "../parts/Link";
import { MissingExperiment } from "../parts/Missing";
import { look, Status } from "../parts/status";
import { failed, toast } from "../parts/toast";
import { go } from "../state/url";
import { dimension } from "./compare/values";
import { Contour } from "./trials/Contour";
import { Timeline } from "./trials/Timeline";

type Results = Schemas["Results"];
type States = Schemas["TrialStates"];

/** The trials of an experiment: the queue, the results so far, what matters, and who works. */
export function Trials({ experiment = "" }: { experiment?: string }) {
  if (!experiment) return <Pick />;
  return <Queue key={experiment} experiment={experiment} />;
}

function Queue({ experiment }: { experiment: string }) {
  const [record, setRecord] = useState<Schemas["Experiment"] | null>(null);
  const [states, setStates] = useState<States | null>(null);
  const [results, setResults] = useState<Results | null>(null);
  const [slice, setSlice] = useState<string | null>(null);
  const [aim, setAim] = useState(0);
  const [missing, setMissing] = useState<string | null>(null);
  const hovered = useSignal<string | null>(null);
  const path = `/api/experiments/${encodeURIComponent(experiment)}`;

  function load(): void {
    Promise.all([get<Schemas["Experiment"]>(path), get<States>(`${path}/trials`), get<Results>(`${path}/results`)]).then(([one, two, three]) => {
      setRecord(one);
      setStates(two);
      setResults(three);
    }, (error: Error) => {
      if (error instanceof ApiError && error.problem.status === 404) setMissing(error.message);
      else failed(error);
    });
  }
  useEffect(load, [experiment]);
  useChanges({ experiment, columns: ["status"] }, load, 1500);

  const trials = results?.trials ?? [];
  const objectives = Object.entries((results?.objectives ?? {}) as Record<string, string>);
  const [metric, direction] = objectives[aim] ?? objectives[0] ?? [];
  const ids = useMemo(() => trials.map((one) => one.run), [results]);
  const names = useMemo(() => trials.map((one) => `#${one.number}`), [results]);
  const values = useMemo(() => (metric ? trials.map((one) => one.values[metric] ?? null) : []), [results, metric]);
  const best = useMemo(() => {
    const found: [number, number][] = [];
    trials.forEach((one, place) => {
      const now = values[place];
      if (now === null || now === undefined || !one.feasible) return;
      const last = found[found.length - 1];
      if (!last || (direction === "max" ? now > last[1] : now < last[1])) found.push([one.number, now]);
    });
    const last = found[found.length - 1];
    if (last && trials.length) found.push([trials[trials.length - 1]!.number, last[1]]);
    return found;
  }, [results, metric]);
  const bestRuns = useMemo(() => {
    // the last pair only draws the line to the end
    const wanted = new Set(best.filter(([, now], place) => place === 0 || now !== best[place - 1]![1]).map(([place]) => place));
    return new Set(trials.filter((one) => wanted.has(one.number)).map((one) => one.run));
  }, [best]);
  const importance = metric ? Object.entries((results?.importance as Record<string, Record<string, number>> | undefined)?.[metric] ?? {}) : [];
  const parameters = Object.keys(trials[0]?.params ?? {});
  const varied = parameters.find((key) => new Set(trials.map((one) => JSON.stringify(one.params[key]))).size > 1);
  const param = slice ?? importance[0]?.[0] ?? varied ?? parameters[0] ?? null;
  const front = useMemo(() => new Set(results?.front ?? []), [results]);
  if (missing !== null) return <MissingExperiment experiment={experiment ?? ""} message={missing} />;
  if (!record || !states || !results) return null;
  const counts = Object.entries(states.progress as Record<string, number>);
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  const lost = states.progress.NODE_FAIL ?? 0;

  async function requeueLost(): Promise<void> {
    const { ids: gone } = await post<Schemas["TableAnswer"]>("/api/table", { experiment, where: "status = 'NODE_FAIL'", columns: ["id"], limit: 1000 });
    await Promise.all(gone.map((id) => post(`/api/trials/${id}/requeue`, {})));
    toast(`${plural(gone.length, "trial")} queued again`);
    load();
  }

  return (
    <div class="page trials">
      <header class="top">
        <h1>
          <Link to={`/e/${encodeURIComponent(record.name)}`}>{record.name}</Link>
        </h1>
        <span>Trials</span>
        <span class="states long" role="img" aria-label={counts.map(([status, count]) => `${count} ${look(status).word}`).join(", ")}>
          {counts.map(([status, count]) => (
            <i key={status} title={`${count} ${look(status).word}`} style={{ width: `${(count / total) * 100}%`, background: `var(${look(status).colour})` }} />
          ))}
        </span>
        <span>
          {counts.map(([status, count], place) => (
            <span key={status} style={{ color: `var(${look(status).colour})` }}>
              {place ? " · " : ""}
              {number(count)} {look(status).word}
            </span>
          ))}
        </span>
        {Object.keys(states.runners).length > 0 && <span class="soft">{plural(Object.keys(states.runners).length, "runner")}</span>}
        <span class="push row">
          <Enqueue record={record} path={path} onDone={load} />
          {lost > 0 && (
            <button type="button" onClick={() => void requeueLost().catch(failed)}>
              requeue {lost} lost
            </button>
          )}
        </span>
      </header>
      {total === 0 && (
        <div class="nothing">
          <h2>No trials yet</h2>
          <pre>{`experiment = store.experiment("${record.name}")\nexperiment.new_trial({"lr": 0.01})\n\n# then, on any machine:\nrunbase worker ${record.name} -- python train.py`}</pre>
        </div>
      )}
      {objectives.length === 0 && total > 0 && (
        <p class="soft">
          This experiment has no objective, so there is no best trial. Set one with <code>store.update_experiment({JSON.stringify(record.name)}, objectives={"{"}"loss": "min"{"}"})</code>.
        </p>
      )}
      {metric && trials.length > 0 && (
        <>
          {objectives.length > 1 && (
            <div class="row objective">
              {objectives.map(([name, way], place) => (
                <button key={name} type="button" aria-pressed={place === aim} onClick={() => setAim(place)}>
                  {way} {name}
                </button>
              ))}
            </div>
          )}
          <div class="cards">
            <figure class="card">
              <figcaption>
                <span class="title">History</span> <span class="soft">{metric}, and the best so far</span>
              </figcaption>
              <PointPlot
                ids={ids}
                names={names}
                x={{ ...dimension("trial", trials.map((one) => one.number)), log: false }}
                y={dimension(metric, values)}
                tint={null}
                hovered={hovered}
                onOpen={(id) => go(`/run/${id}`)}
                line={best}
                marked={bestRuns}
              />
            </figure>
            {objectives.length > 1 && (
              <figure class="card">
                <figcaption>
                  <span class="title">Pareto front</span> <span class="soft">{plural(front.size, "trial")} that no other one beats in everything</span>
                </figcaption>
                <PointPlot
                  ids={ids}
                  names={names}
                  x={dimension(objectives[0]![0], trials.map((one) => one.values[objectives[0]![0]] ?? null))}
                  y={dimension(objectives[1]![0], trials.map((one) => one.values[objectives[1]![0]] ?? null))}
                  tint={null}
                  hovered={hovered}
                  onOpen={(id) => go(`/run/${id}`)}
                  marked={front}
                />
              </figure>
            )}
            <figure class="card">
              <figcaption>
                <span class="title">Importance</span>{" "}
                <span class="soft" title="the share of the variance of the ranks of the objective that a parameter explains alone">
                  share explained alone
                </span>
              </figcaption>
              {importance.length === 0 && <p class="soft centre">needs at least 8 completed trials</p>}
              <table class="bars">
                <tbody>
                  {importance.slice(0, 12).map(([key, share]) => (
                    <tr key={key}>
                      <th scope="row">
                        <button type="button" class="plain" aria-pressed={key === param} onClick={() => setSlice(key)}>
                          {key}
                        </button>
                      </th>
                      <td>
                        <i style={{ width: `${share * 100}%` }} />
                      </td>
                      <td class="number">{Math.round(share * 100)} %</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </figure>
            <Contour
              experiment={experiment}
              space={(record.space ?? {}) as Record<string, { log?: boolean }>}
              trials={trials}
              metric={metric}
              direction={direction ?? "min"}
              order={importance.map(([key]) => key)}
              hovered={hovered}
              tick={results}
            />
            {param && (
              <figure class="card">
                <figcaption>
                  <span class="title">Slice</span>
                  <select aria-label="parameter of the slice" value={param} onChange={(event) => setSlice(event.currentTarget.value)}>
                    {[...new Set(trials.flatMap((one) => Object.keys(one.params as object)))].map((key) => (
                      <option key={key}>{key}</option>
                    ))}
                  </select>
                </figcaption>
                <PointPlot
                  ids={ids}
                  names={names}
                  x={dimension(param, trials.map((one) => (one.params as Record<string, unknown>)[param] ?? null))}
                  y={dimension(metric, values)}
                  height={320}
                  tint={{ ...dimension("trial", trials.map((one) => one.number)), log: false }}
                  hovered={hovered}
                  onOpen={(id) => go(`/run/${id}`)}
                />
              </figure>
            )}
          </div>
        </>
      )}
      <Timeline rows={results.timeline as [number, string, string, string, number | null, number | null, string][]} hovered={hovered} />
      {trials.length > 0 && metric && (
        <>
          <h2>Best trials</h2>
          <table class="list">
            <thead>
              <tr>
                <th class="number">#</th>
                {objectives.map(([name]) => (
                  <th key={name} class="number">
                    {name}
                  </th>
                ))}
                <th>parameters</th>
              </tr>
            </thead>
            <tbody>
              {[...trials]
                .filter((one) => one.values[metric] !== undefined && one.feasible)
                .sort((a, b) => ((a.values[metric] ?? 0) - (b.values[metric] ?? 0)) * (direction === "max" ? -1 : 1))
                .slice(0, 10)
                .map((one) => (
                  <tr key={one.run} onPointerEnter={() => (hovered.value = one.run)} onPointerLeave={() => (hovered.value = null)}>
                    <td class="number">
                      <Link to={`/run/${one.run}`}>#{one.number}</Link>
                    </td>
                    {objectives.map(([name]) => (
                      <td key={name} class="number">
                        {number(one.values[name] ?? Number.NaN)}
                      </td>
                    ))}
                    <td>{pairs(one.params as Record<string, unknown>)}</td>
                  </tr>
                ))}
            </tbody>
          </table>
        </>
      )}
      {states.waiting.length > 0 && (
        <>
          <h2>
            Waiting <span class="soft">{states.progress.PENDING ?? states.waiting.length}</span>
          </h2>
          <table class="list">
            <tbody>
              {states.waiting.slice(0, 30).map((one) => (
                <tr key={one.id}>
                  <td class="number">
                    <Link to={`/run/${one.id}`}>#{one.number}</Link>
                  </td>
                  <td>
                    <Status status={one.status} />
                    {one.attempt > 0 && <span class="soft"> attempt {one.attempt + 1}</span>}
                  </td>
                  <td>{pairs(one.params as Record<string, unknown>)}</td>
                  <td class="soft">{one.priority ? `priority ${one.priority}` : ""}</td>
                  <td>
                    <button type="button" class="plain" onClick={() => post(`/api/trials/${one.id}/cancel`, {}).then(load, failed)}>
                      cancel
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
    </div>
  );
}

function pairs(params: Record<string, unknown>): string {
  return Object.entries(params)
    .map(([key, one]) => `${key} ${value(one)}`)
    .join(" · ");
}

/** Queue trials: suggested ones if there is a space, or parameters as JSON. */
function Enqueue({ record, path, onDone }: { record: Schemas["Experiment"]; path: string; onDone: () => void }) {
  const [open, setOpen] = useState(false);
  const [text, setText] = useState("{}");
  const space = Object.keys((record.space ?? {}) as object).length > 0;
  async function suggest(count: number): Promise<void> {
    const { ids } = await post<Schemas["Ids"]>(`${path}/suggest`, { count });
    toast(`${plural(ids.length, "trial")} queued`);
    onDone();
  }
  async function add(): Promise<void> {
    let params: unknown;
    try {
      params = JSON.parse(text);
    } catch (error) {
      toast(`not JSON: ${(error as Error).message}`, { bad: true });
      return;
    }
    const { ids } = await post<Schemas["Ids"]>(`${path}/trials`, { params: Array.isArray(params) ? params : [params] });
    toast(`${plural(ids.length, "trial")} queued`);
    setOpen(false);
    onDone();
  }
  return (
    <>
      {space && (
        <button type="button" title="random parameters from the search space" onClick={() => void suggest(10).catch(failed)}>
          + 10 random
        </button>
      )}
      <button type="button" aria-expanded={open} onClick={() => setOpen(!open)}>
        + trial
      </button>
      {open && (
        <form
          class="row"
          onSubmit={(event) => {
            event.preventDefault();
            void add().catch(failed);
          }}
        >
          <input aria-label="parameters as JSON" value={text} size={30} onInput={(event) => setText(event.currentTarget.value)} />
          <button class="accent">queue</button>
        </form>
      )}
    </>
  );
}

/** Experiments that have trials. */
function Pick() {
  const [experiments, setExperiments] = useState<Schemas["Experiment"][] | null>(null);
  useEffect(() => {
    get<Schemas["ExperimentPage"]>("/api/experiments?order_by=updated_at%20desc&limit=100").then((page) => {
      const tuned = page.experiments.filter((one) => (one.objectives ?? []).length);
      setExperiments(tuned.length ? tuned : page.experiments);
    }, failed);
  }, []);
  if (!experiments) return null;
  return (
    <div class="nothing">
      <h2>Trials</h2>
      <p>An experiment with objectives is a study: trials wait in its queue, runners claim them, and the results are ranked.</p>
      {experiments.length === 0 && <p class="soft">This store has no experiments yet.</p>}
      <ul>
        {experiments.map((one) => (
          <li key={one.id}>
            <Link to={`/e/${encodeURIComponent(one.name)}/trials`}>{one.name}</Link>{" "}
            <span class="soft">{(one.objectives ?? []).map((aim) => `${aim.direction} ${aim.metric}`).join(", ")}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}
