import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { ApiError, call, get, literal, post, query, type Schemas } from "../api/client";
import type { RunRecord } from "../api/types";
import { useChanges } from "../api/useChanges";
import { colourOf } from "../charts/palette";
import { ago, duration } from "../parts/format";
import { Link } from "../parts/Link";
import { shareOnly } from "../parts/share";
import { Status } from "../parts/status";
import { failed, toast } from "../parts/toast";
import { isDark } from "../state/theme";
import { go } from "../state/url";
import { Charts } from "./Charts";
import { headline, type KnownKey } from "./columns";
import { Code } from "./run/Code";
import { Files } from "./run/Files";
import { History } from "./run/History";
import { Logs } from "./run/Logs";
import { Media } from "./run/Media";
import { Overview } from "./run/Overview";
import { System } from "./run/System";


const SETTLED = 1000;

/** One run with everything that is known of it. */
export function Run({ run: word = "", tab = "overview" }: { run?: string; tab?: string }) {
  const [run, setRun] = useState<RunRecord | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [records, setRecords] = useState<Schemas["MediaRecord"][]>([]);
  const [cut, setCut] = useState(false);
  const [tick, setTick] = useState(0);
  const [naming, setNaming] = useState(false);
  const hovered = useSignal<string | null>(null);

  function load(): void {
    get<RunRecord>(`/api/runs/${encodeURIComponent(word)}`).then(
      (found) => {
        setRun(found);
        setProblem(null);
        setTick((old) => old + 1);
      },
      (error: Error) => {
        if (error instanceof ApiError) setProblem(error.message);
      },
    );
    get<Schemas["Records"]>(`/api/runs/${encodeURIComponent(word)}/records`).then(
      (found) => {
        setRecords(found.records);
        setCut(found.more);
      },
      () => undefined,
    );
  }

  useEffect(() => {
    setRun(null);
    load();
  }, [word]);
  useChanges(run ? { where: `id = ${literal(run.id)}`, columns: ["status"] } : null, load, SETTLED);
  useEffect(() => {
    if (!run) return;
    document.title = `${run.name} · runbase`;
    return () => {
      document.title = "runbase";
    };
  }, [run?.name]);

  useLayoutEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (/^(INPUT|TEXTAREA|SELECT)$/.test((event.target as HTMLElement).tagName) || event.ctrlKey || event.metaKey) return;
      if (event.key === "[" || event.key === "]") void neighbour(event.key === "]");
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, [run?.id, tab]);

  /** Go to the run that was created after this one, or before it. */
  async function neighbour(next: boolean): Promise<void> {
    if (!run) return;
    const where = `number ${next ? ">" : "<"} ${run.number}`;
    const order_by = next ? "number" : "number desc";
    const { runs } = await get<Schemas["RunPage"]>(`/api/runs${query({ where, order_by, experiment: run.experiment_id, limit: 1 })}`);
    if (runs[0]) go(`/run/${runs[0].id}/${tab}`);
    else toast(next ? "this is the newest run" : "this is the oldest run");
  }

  async function change(body: Record<string, unknown>): Promise<void> {
    try {
      setRun(await call<RunRecord>("PATCH", `/api/runs/${run!.id}`, body));
    } catch (error) {
      failed(error);
    }
  }

  if (problem) {
    return (
      <div class="nothing">
        <h2>No such run</h2>
        <p>{problem}</p>
        <Link to="/runs">All runs</Link>
      </div>
    );
  }
  if (!run) return null;

  const metrics: KnownKey[] = Object.values(run.metrics).map((one) => ({ key: one.key, runs: 1, type: one.type, least: null, greatest: null }));
  const media = records.filter((one) => one.kind !== "system");
  const mediaPaths = new Set(media.map((one) => one.path ?? ""));
  const tabs: [string, string, number | null][] = [
    ["overview", "Overview", null],
    ["charts", "Charts", metrics.length],
    ["media", "Media", new Set(media.map((one) => one.key)).size],
    ["artifacts", "Artifacts", (run.artifacts ?? []).filter((one) => !mediaPaths.has(one.path)).length],
    ["logs", "Logs", null],
    ["system", "System", null],
    ["code", "Code", null],
    ["history", "History", null],
    ["raw", "Raw", null],
  ];
  const bodies: Record<string, () => ComponentChildren> = {
    overview: () => <Overview run={run} records={media} onChange={change} tick={tick} />,
    charts: () => (
      <Charts
        place={run.experiment}
        metrics={metrics}
        runs={[run.id]}
        name={() => run.name}
        tick={tick}
        hovered={hovered}
        first={headline(metrics, [], 4).map((key) => key.key)}
      />
    ),
    media: () => <Media run={run} records={media} more={cut} />,
    artifacts: () => <Files run={run} media={mediaPaths} />,
    logs: () => <Logs run={run} tick={tick} />,
    system: () => <System run={run} tick={tick} />,
    code: () => <Code run={run} />,
    history: () => <History run={run} />,
    raw: () => <pre class="raw">{JSON.stringify(run, null, 2)}</pre>,
  };
  const active = run.status === "RUNNING";
  return (
    <div class="page run">
      <header class="top">
        <i class="swatch large" style={{ background: colourOf(run.id, isDark()) }} />
        {naming ? (
          <input
            aria-label="name of the run"
            value={run.name}
            autofocus
            onBlur={(event) => {
              setNaming(false);
              const name = event.currentTarget.value.trim();
              if (name && name !== run.name) void change({ name });
            }}
            onKeyDown={(event) => {
              if (event.key === "Enter") event.currentTarget.blur();
            }}
          />
        ) : (
          <h1>
            <button type="button" class="plain title" title="rename" onClick={() => setNaming(true)}>
              {run.name}
            </button>
          </h1>
        )}
        <Status status={run.status} alive={run.alive} seen={run.seen_at} />
        <span class="soft">
          {active ? `for ${duration((Date.now() - new Date(run.started_at ?? run.created_at).getTime()) / 1000)}` : run.ended_at && run.status !== "NODE_FAIL" ? ago(run.ended_at) : ""}
        </span>
        <Link to={`/e/${encodeURIComponent(run.experiment)}`}>
          {run.experiment} #{run.number}
        </Link>
        {run.parent_id && (
          <span class="soft">
            child of <Link to={`/run/${run.parent_id}`}>{run.parent_id.slice(0, 8)}</Link>
          </span>
        )}
        <span class="push row">
          <button type="button" title="previous run ([)" onClick={() => void neighbour(false)}>
            ‹
          </button>
          <button type="button" title="next run (])" onClick={() => void neighbour(true)}>
            ›
          </button>
          <button type="button" title="copy a link that reads this run, and nothing else, for 30 days" onClick={() => void shareOnly([run.id], [], run.name, run.name)}>
            Share
          </button>
          <Link class="button" to={`/compare?r=${run.id}`}>
            Compare
          </Link>
          <Link class="button" to={`/lineage/${run.id}`}>
            Lineage
          </Link>
          {run.deleted_at ? (
            <button type="button" onClick={() => post(`/api/runs/${run.id}/restore`, {}).then(load, failed)}>
              Restore
            </button>
          ) : (
            <button
              type="button"
              onClick={() =>
                call("DELETE", `/api/runs/${run.id}`).then(() => {
                  toast(`${run.name} moved to the trash`, {
                    action: { label: "undo", run: () => void post(`/api/runs/${run.id}/restore`, {}).then(load, failed) },
                  });
                  go(`/e/${encodeURIComponent(run.experiment)}`);
                }, failed)
              }
            >
              Delete
            </button>
          )}
        </span>
      </header>
      <nav class="tabs" aria-label="parts of the run">
        {tabs.map(([id, label, count]) => (
          <Link key={id} to={`/run/${run.id}/${id}`} class={id === tab ? "here" : ""} aria-current={id === tab ? "page" : undefined}>
            {label} {count ? <span class="soft">{count}</span> : null}
          </Link>
        ))}
      </nav>
      <div class="tab">{(bodies[tab] ?? bodies.overview!)()}</div>
    </div>
  );
}
