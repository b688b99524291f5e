import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { get, literal, post, query, type Schemas } from "../api/client";
import { useChanges } from "../api/useChanges";
import { colourOf } from "../charts/palette";
import { Link } from "../parts/Link";
import { Status } from "../parts/status";
import { failed } from "../parts/toast";
import { isDark } from "../state/theme";
import { param, setParams } from "../state/url";
import { Charts } from "./Charts";
import { headline, type KnownKey } from "./columns";
import { CodeDiff } from "./compare/CodeDiff";
import { DiffTable } from "./compare/DiffTable";
import { MediaGrid } from "./compare/MediaGrid";
import { Parallel } from "./compare/Parallel";
import { Scatter } from "./compare/Scatter";
import { Seeds } from "./compare/Seeds";
import type { RunRecord } from "../api/types";

const MOST = 60;
const TABS: [string, string][] = [
  ["diff", "Differences"],
  ["curves", "Curves"],
  ["parallel", "Parallel"],
  ["scatter", "Scatter"],
  ["seeds", "Groups"],
  ["media", "Media"],
  ["code", "Code"],
];

/** Runs side by side. The first one is the baseline, unless another is chosen. */
export function Compare() {
  const ids = param("r").split(",").filter(Boolean).slice(0, MOST);
  const tab = param("tab") || "diff";
  const [runs, setRuns] = useState<RunRecord[] | null>(null);
  const [tick, setTick] = useState(0);
  const hovered = useSignal<string | null>(null);
  const key = ids.join();

  function load(): void {
    Promise.all(ids.map((id) => get<RunRecord>(`/api/runs/${id}`))).then(setRuns, failed);
  }
  useEffect(load, [key]);
  const changed = () => {
    load();
    setTick((old) => old + 1);
  };
  useChanges(ids.length ? { where: `id in (${ids.map(literal).join(", ")})`, columns: ["status"] } : null, changed, 2000);

  const base = runs?.find((one) => one.id === param("base")) ?? runs?.[0];
  const ordered = useMemo(() => (runs && base ? [base, ...runs.filter((one) => one !== base)] : []), [runs, base?.id]);
  const metrics = useMemo(() => known(ordered), [ordered]);
  const drawn = useMemo(() => ordered.map((one) => one.id), [ordered.map((one) => one.id).join()]);
  if (!ids.length) return <Pick />;
  if (!runs || !base) return null;
  const names = new Map(ordered.map((one) => [one.id, one.name]));

  const bodies: Record<string, () => ComponentChildren> = {
    diff: () => <DiffTable runs={ordered} />,
    curves: () => (
      <Charts
        place={"compare"}
        metrics={metrics}
        runs={drawn}
        name={(run) => names.get(run) ?? run}
        tick={tick}
        hovered={hovered}
        first={headline(metrics, [], 4).map((one) => one.key)}
      />
    ),
    parallel: () => <Parallel runs={ordered} hovered={hovered} />,
    scatter: () => <Scatter runs={ordered} hovered={hovered} />,
    seeds: () => <Seeds runs={ordered} />,
    media: () => <MediaGrid runs={ordered} />,
    code: () => <CodeDiff runs={ordered} />,
  };
  return (
    <div class="page compare">
      <header class="top">
        <h1>Compare</h1>
        <div class="tags">
          {ordered.map((one) => (
            <span
              class="tag"
              key={one.id}
              onPointerEnter={() => (hovered.value = one.id)}
              onPointerLeave={() => (hovered.value = null)}
            >
              <i class="swatch" style={{ background: colourOf(one.id, isDark()) }} />
              <Link to={`/run/${one.id}`}>{one.name}</Link> <Status status={one.status} alive={one.alive} short />
              {one === base ? (
                <span class="badge">baseline</span>
              ) : (
                <button type="button" class="plain" title="use as the baseline" aria-label={`use ${one.name} as the baseline`} onClick={() => setParams({ base: one.id })}>
                  ◇
                </button>
              )}
              <button
                type="button"
                class="plain"
                aria-label={`remove ${one.name}`}
                onClick={() => setParams({ r: ids.filter((id) => id !== one.id).join(",") })}
              >
                ×
              </button>
            </span>
          ))}
          <AddRun onAdd={(id) => setParams({ r: [...ids, id].join(",") })} />
        </div>
      </header>
      <nav class="tabs" aria-label="kinds of comparison">
        {TABS.map(([id, label]) => (
          <button key={id} type="button" class={id === tab ? "here" : ""} aria-pressed={id === tab} onClick={() => setParams({ tab: id === "diff" ? null : id })}>
            {label}
          </button>
        ))}
      </nav>
      <div class="tab">{(bodies[tab] ?? bodies.diff!)()}</div>
    </div>
  );
}

function known(runs: RunRecord[]): KnownKey[] {
  const counts = new Map<string, number>();
  for (const run of runs) for (const key of Object.keys(run.metrics)) counts.set(key, (counts.get(key) ?? 0) + 1);
  return [...counts].map(([key, count]) => ({ key, runs: count, type: "float", least: null, greatest: null }));
}

/** A field that finds a run by its name. */
function AddRun({ onAdd }: { onAdd: (id: string) => void }) {
  const [found, setFound] = useState<Schemas["Run"][]>([]);
  return (
    <>
      <input
        list="runs-to-add"
        size={14}
        placeholder="add a run"
        aria-label="add a run by name"
        onInput={(event) => {
          const text = event.currentTarget.value.trim();
          const same = found.find((one) => one.name === text);
          if (same) {
            onAdd(same.id);
            event.currentTarget.value = "";
          } else if (text) {
            get<Schemas["RunPage"]>(`/api/runs${query({ where: `name ilike '%${text.replaceAll("'", "''")}%'`, limit: 10 })}`).then((page) => setFound(page.runs), () => undefined);
          }
        }}
      />
      <datalist id="runs-to-add">
        {found.map((one) => (
          <option key={one.id} value={one.name}>
            {one.experiment}
          </option>
        ))}
      </datalist>
    </>
  );
}

/** Without runs: the newest runs of each experiment are one click away. */
function Pick() {
  const [experiments, setExperiments] = useState<Schemas["Experiment"][]>([]);
  useEffect(() => {
    get<Schemas["ExperimentPage"]>("/api/experiments?order_by=updated_at%20desc&limit=20").then((page) => setExperiments(page.experiments), failed);
  }, []);
  async function choose(experiment: string): Promise<void> {
    const { ids } = await post<Schemas["TableAnswer"]>("/api/table", { experiment, columns: ["id"], limit: 12 });
    setParams({ r: ids.join(",") });
  }
  return (
    <div class="nothing">
      <h2>Compare runs</h2>
      <p>
        Select runs in a table and press <kbd>c</kbd>.
        {experiments.length > 0 ? " Or compare the newest runs of an experiment:" : " This store has no runs yet."}
      </p>
      <div class="tags">
        {experiments.map((one) => (
          <button key={one.id} type="button" onClick={() => void choose(one.id).catch(failed)}>
            {one.name}
          </button>
        ))}
      </div>
    </div>
  );
}
