import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError, call, get, post, query, quoted, type Schemas } from "../api/client";
import { colourOf } from "../charts/palette";
import { FilterBox } from "../filter/FilterBox";
import { Grid, type Column } from "../grid/Grid";
import { Rows } from "../grid/rows";
import { number, plural } from "../parts/format";
import { Popover } from "../parts/Popover";
import { MissingExperiment } from "../parts/Missing";
import { share } from "../parts/share";
import { copy, failed, toast } from "../parts/toast";
import { isDark } from "../state/theme";
import { go, href, param, setParams } from "../state/url";
import { Charts } from "./Charts";
import { ColumnChooser } from "./ColumnChooser";
import { asCell, asColumn, defaultColumns, headline, loadKeys, type Keys, type KnownKey } from "./columns";
import { asCopy } from "./copies";
import { Groups } from "./Groups";
import { NoMatch } from "./NoMatch";
import { SavedViews } from "./SavedViews";
import { Welcome } from "./Welcome";

const DRAWN = [10, 25, 50, 100, 250, 500];
const NONE: Keys = { params: [], metrics: [], tags: [] };

function stored<T>(key: string, fallback: T): T {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "") as T;
  } catch {
    return fallback;
  }
}

/** Runs of an experiment, or of all: a table and charts side by side, one selection. */
export function Runs({ experiment }: { experiment: string | null }) {
  const [keys, setKeys] = useState<Keys | null>(null);
  const [record, setRecord] = useState<Schemas["Experiment"] | null>(null);
  const [missing, setMissing] = useState<string | null>(null);
  const [widths, setWidths] = useState<Record<string, number>>(() => stored("widths", {}));
  const [split, setSplit] = useState<number>(() => stored("split", 46));
  const [tick, setTick] = useState(0);
  const hovered = useSignal<string | null>(null);
  const rows = useMemo(() => new Rows(), []);
  const root = useRef<HTMLDivElement>(null);

  const where = param("q");
  const sort = param("sort");
  const shown = param("cols");
  const drawn = Number(param("n") || 25);
  const selected = useMemo(() => new Set(param("sel").split(",").filter(Boolean)), [param("sel")]);
  const hidden = useMemo(() => new Set(param("hide").split(",").filter(Boolean)), [param("hide")]);
  const base = param("base");
  const objectives = (record?.objectives ?? []).map((one) => one.metric);
  const best = new Set(objectives);

  useEffect(() => {
    setKeys(null);
    setRecord(null);
    setMissing(null);
    loadKeys(experiment).then(setKeys, (error: Error) => {
      // Of an experiment that is missing, the view says so once.
      if (!(error instanceof ApiError && error.problem.status === 404)) failed(error);
    });
    if (experiment) {
      get<Schemas["Experiment"]>(`/api/experiments/${encodeURIComponent(experiment)}`).then(setRecord, (error: Error) => {
        if (error instanceof ApiError && error.problem.status === 404) setMissing(error.message);
      });
    }
  }, [experiment]);
  useEffect(() => () => rows.close(), []);

  const names = useMemo(
    () => (shown ? shown.split("~") : defaultColumns(keys ?? NONE, objectives, experiment)),
    [shown, keys, objectives.join(), experiment],
  );
  useEffect(() => {
    rows.show({ where, experiment, columns: names, sort }); // without the keys: the first columns
  }, [where, sort, names.join(), experiment]);

  // New metrics appear, and charts ask for new points, at most every two seconds.
  const moved = rows.moved.value;
  const waiting = useRef(false);
  useEffect(() => {
    if (!moved || waiting.current) return;
    waiting.current = true;
    const timer = setTimeout(() => {
      waiting.current = false;
      setTick((old) => old + 1);
      if (!keys?.metrics.length || moved % 10 === 0) loadKeys(experiment).then(setKeys, () => undefined);
    }, 1500);
    return () => {
      clearTimeout(timer);
      waiting.current = false;
    };
  }, [moved]);

  const group = param("group");
  const by = useMemo(() => group.split("~").filter(Boolean), [group]);
  const [groupOf, setGroupOf] = useState<Map<string, string> | null>(null);
  useEffect(() => {
    if (!by.length) setGroupOf(null);
  }, [group]);
  const version = rows.version.value;
  const dark = isDark();
  const columns = useMemo(() => names.map((name) => asColumn(name, widths, best)), [names.join(), widths, objectives.join()]);
  const charted = useMemo(
    () => {
      if (groupOf) return [...groupOf.keys()];
      const shown = selected.size ? [...selected] : rows.ids.slice(0, drawn + hidden.size).filter((id) => !hidden.has(id)).slice(0, drawn);
      return base && !shown.includes(base) ? [base, ...shown] : shown;
    },
    [version, selected, drawn, groupOf, hidden, base],
  );
  const chartKey = charted.join();
  const stableCharted = useMemo(() => charted, [chartKey]);
  const inCharts = useMemo(() => new Set(charted), [chartKey]);
  const groupable = [
    "status",
    ...(experiment ? [] : ["experiment"]),
    "host",
    ...(keys?.params ?? []).slice(0, 100).map((key) => `params.${quoted(key.key)}`),
    ...(keys?.tags ?? []).slice(0, 50).map((key) => `tags.${quoted(key.key)}`),
  ];
  const sorting = sort ? { id: sort.replace(/ (desc|asc)$/, ""), descending: / desc$/.test(sort) } : null;

  function select(next: Set<string>): void {
    setParams({ sel: [...next].join(",") }, { replace: true });
  }

  async function tag(): Promise<void> {
    const word = window.prompt(`Tag ${plural(selected.size, "run")} with (name, or name=value):`);
    if (!word) return;
    const [key = "", ...rest] = word.split("=");
    try {
      const tags = { [key.trim()]: rest.length ? rest.join("=").trim() : null };
      const { count } = await post<Schemas["Count"]>("/api/bulk", { action: "tag", ids: [...selected], tags });
      toast(`${plural(count, "run")} tagged`);
      void rows.reload();
      loadKeys(experiment).then(setKeys, failed);
    } catch (error) {
      failed(error);
    }
  }

  async function remove(): Promise<void> {
    const ids = [...selected];
    try {
      const { count } = await post<Schemas["Count"]>("/api/bulk", { action: "delete", ids });
      select(new Set());
      void rows.reload();
      toast(`${plural(count, "run")} moved to the trash`, {
        action: {
          label: "undo",
          run: () => {
            post("/api/bulk", { action: "restore", ids }).then(() => rows.reload(), failed);
          },
        },
      });
    } catch (error) {
      failed(error);
    }
  }

  async function note(): Promise<void> {
    const [id] = selected;
    if (!id) return;
    const old = await get<Schemas["Run"]>(`/api/runs/${id}`);
    const text = window.prompt(`Notes of ${old.name}:`, old.notes);
    if (text === null) return;
    try {
      await call("PATCH", `/api/runs/${id}`, { notes: text });
      toast("notes saved");
      void rows.reload();
    } catch (error) {
      failed(error);
    }
  }

  /** Leave runs out of the charts, or show all again. */
  function hide(): void {
    if (!selected.size) setParams({ hide: null });
    else setParams({ hide: [...hidden, ...selected].join(","), sel: null });
  }

  /** Draw one run in all charts, whatever is shown. */
  function pinBaseline(): void {
    const [id] = selected;
    setParams({ base: id && id !== base ? id : null, sel: null });
  }

  function compare(): void {
    if (selected.size) go(`/compare?r=${[...selected].join(",")}`);
  }

  const actions: Record<string, () => void> = {
    c: compare,
    h: hide,
    b: pinBaseline,
    t: () => void (selected.size && tag()),
    n: () => void note(),
    Delete: () => void (selected.size && remove()),
    Backspace: () => void (selected.size && remove()),
    z: () => setParams({ range: null }),
    l: () => setParams({ y: param("y") === "log" ? null : "log" }),
  };

  const copies = { where, sort, experiment: experiment ? (record?.name ?? experiment) : null, columns: shown ? names : null, selected: [...selected], ids: rows.ids };

  if (missing !== null) return <MissingExperiment experiment={experiment ?? ""} message={missing} />;
  if (keys && !rows.loading.value && !rows.total && !where && !rows.problem.value) {
    return <Welcome experiment={record?.name ?? experiment} />;
  }

  const title = experiment ? (record?.name ?? experiment) : "All runs";
  return (
    <div class="runs" ref={root}>
      <header class="top">
        <h1>{title}</h1>
        <FilterBox
          value={where}
          experiment={experiment}
          problem={rows.problem.value}
          onChange={(q) => setParams({ q, sel: null })}
        />
        <span class="count" aria-live="polite">
          {rows.loading.value ? <span class="spin" aria-label="loading" /> : null}
          <b>{number(rows.total)}</b> {rows.total === 1 ? "run" : "runs"} <span class="soft">{(rows.took / 1000).toFixed(2)} s</span>
        </span>
        {rows.fresh.value > 0 && (
          <button type="button" class="accent" onClick={() => void rows.reload()}>
            {rows.fresh.value} new, show
          </button>
        )}
        <SavedViews experiment={record?.id ?? null} />
        <Popover label="Columns" align="right">
          {() => (
            <ColumnChooser
              experiment={experiment}
              known={keys ?? NONE}
              chosen={names}
              onChange={(next) => setParams({ cols: next.join("~") })}
              onReset={() => setParams({ cols: null })}
            />
          )}
        </Popover>
        <Popover label="Copy as" align="right">
          {(close) => (
            <div class="menu">
              {(["cli", "python", "sql", "url"] as const).map((kind) => (
                <button key={kind} type="button" onClick={() => (void copy(asCopy(kind, copies), { cli: "Command", python: "Python", sql: "SQL", url: "Address" }[kind]), close())}>
                  {{ cli: "Command line", python: "Python", sql: "SQL", url: "Address of this view" }[kind]}
                </button>
              ))}
              <button type="button" onClick={() => (void share(experiment, title), close())}>
                Read-only link for others
              </button>
              <hr />
              {(["csv", "jsonl", "parquet", "sqlite"] as const).map((format) => (
                <a
                  key={format}
                  download
                  href={href(`/api/export?${new URLSearchParams({ format, ...(where ? { where } : {}), ...(experiment ? { experiment } : {}) })}`)}
                  onClick={close}
                >
                  Export as {{ csv: "CSV", jsonl: "JSON Lines", parquet: "Parquet", sqlite: "SQLite" }[format]}
                </a>
              ))}
            </div>
          )}
        </Popover>
        {experiment && (
          <button type="button" onClick={() => go(`/e/${encodeURIComponent(experiment)}/trials`)}>
            Trials
          </button>
        )}
      </header>
      <div class="halves" style={{ gridTemplateColumns: `minmax(240px, ${split}fr) 6px minmax(240px, ${100 - split}fr)` }}>
        <div class="table">
          {by.length ? (
            <Groups
              where={where}
              experiment={experiment}
              by={by}
              columns={names}
              tick={tick}
              onGroups={setGroupOf}
              hovered={hovered}
            />
          ) : rows.total === 0 && !rows.loading.value && !rows.problem.value ? (
            <NoMatch where={where} experiment={experiment} />
          ) : (
            <Grid
              label={`runs of ${title}`}
              columns={columns}
              count={rows.total}
              id={(row) => rows.ids[row] ?? null}
              cell={(row, column: Column) => {
                const id = rows.ids[row];
                if (id === undefined) return { text: "…", colour: "--faint" };
                const cell = asCell(column.id, rows.value(row, column.id), rows.value(row, "alive"));
                if (column.id === "name") {
                  cell.swatch = inCharts.has(id) ? colourOf(id, dark) : "transparent";
                  cell.bold = selected.has(id) || id === base;
                  if (id === base) cell.text += "  ◆";
                }
                return cell;
              }}
              sort={sorting}
              onSort={(column) => {
                const descending = sorting?.id === column.id && !sorting.descending;
                const off = sorting?.id === column.id && sorting.descending;
                setParams({ sort: off ? null : descending ? `${column.id} desc` : column.id });
              }}
              onResize={(id, width) => {
                const next = { ...widths, [id]: width };
                setWidths(next);
                localStorage.setItem("widths", JSON.stringify(next));
              }}
              selected={selected}
              onSelect={select}
              onOpen={(id) => go(`/run/${id}`)}
              onNeed={(row) => void rows.need(row)}
              hovered={hovered}
              onKey={(event) => {
                const action = actions[event.key];
                if (!action) return false;
                action();
                return true;
              }}
            />
          )}
        </div>
        <div
          class="splitter"
          role="separator"
          aria-orientation="vertical"
          aria-label="width of the table"
          aria-valuenow={Math.round(split)}
          tabIndex={0}
          onKeyDown={(event) => {
            const step = event.key === "ArrowLeft" ? -4 : event.key === "ArrowRight" ? 4 : 0;
            if (step) setSplit(Math.min(Math.max(split + step, 15), 85));
          }}
          onPointerDown={(event) => {
            const target = event.currentTarget;
            target.setPointerCapture(event.pointerId);
            const box = root.current!.getBoundingClientRect();
            const move = (next: PointerEvent) => {
              const share = Math.min(Math.max(((next.clientX - box.left) / box.width) * 100, 15), 85);
              setSplit(share);
              localStorage.setItem("split", JSON.stringify(share));
            };
            target.addEventListener("pointermove", move);
            target.addEventListener("pointerup", () => target.removeEventListener("pointermove", move), { once: true });
          }}
        />
        <Charts
          place={experiment ?? "runs"}
          metrics={keys?.metrics ?? []}
          runs={stableCharted}
          search={(text) => get<KnownKey[]>(`/api/keys${query({ kind: "metric", experiment, text, limit: 100 })}`)}
          groupOf={by.length ? groupOf : null}
          name={(run) => (by.length ? run : String(rows.of(run, "name") ?? run.slice(0, 8)))}
          tick={tick}
          hovered={hovered}
          first={headline(keys?.metrics ?? [], objectives, 4).map((key) => key.key)}
          note={by.length ? `mean ± sd of ${new Set(groupOf?.values()).size} groups` : selected.size ? `${selected.size} selected` : `first ${Math.min(drawn, rows.total)} of ${number(rows.total)}`}
        />
      </div>
      <footer class="bottom">
        {selected.size ? (
          <>
            <b>{selected.size} selected</b>
            <button type="button" onClick={compare}>
              compare <kbd>c</kbd>
            </button>
            <button type="button" onClick={() => void tag()}>
              tag <kbd>t</kbd>
            </button>
            <button type="button" disabled={selected.size !== 1} onClick={() => void note()}>
              note <kbd>n</kbd>
            </button>
            <button type="button" onClick={hide}>
              hide <kbd>h</kbd>
            </button>
            <button type="button" disabled={selected.size !== 1} onClick={pinBaseline}>
              baseline <kbd>b</kbd>
            </button>
            <button type="button" onClick={() => void remove()}>
              delete <kbd>⌫</kbd>
            </button>
            <button type="button" class="plain" onClick={() => select(new Set())}>
              clear <kbd>Esc</kbd>
            </button>
          </>
        ) : (
          <span class="soft">
            click a name to open a run, a row to select it; <kbd>j</kbd> <kbd>k</kbd> move, <kbd>x</kbd> selects, <kbd>?</kbd> all keys
          </span>
        )}
        {hidden.size > 0 && (
          <button type="button" onClick={() => setParams({ hide: null })}>
            show {hidden.size} hidden
          </button>
        )}
        {base && (
          <button type="button" onClick={() => setParams({ base: null })}>
            no baseline
          </button>
        )}
        <label class="push">
          group by{" "}
          <select
            value={group}
            onChange={(event) => setParams({ group: event.currentTarget.value, sel: null })}
          >
            <option value="">nothing</option>
            {by.length > 0 && !groupable.includes(group) && <option value={group}>{by.join(" and ")}</option>}
            {groupable.map((id) => (
              <option key={id} value={id}>
                {id}
              </option>
            ))}
            {by.length === 1 && (
              <optgroup label={`${group} and`}>
                {groupable
                  .filter((id) => id !== group)
                  .map((id) => (
                    <option key={id} value={`${group}~${id}`}>
                      {id}
                    </option>
                  ))}
              </optgroup>
            )}
          </select>
        </label>
        <label>
          draw{" "}
          <select value={drawn} onChange={(event) => setParams({ n: event.currentTarget.value === "25" ? null : event.currentTarget.value })}>
            {DRAWN.map((count) => (
              <option key={count}>{count}</option>
            ))}
          </select>{" "}
          runs
        </label>
      </footer>
    </div>
  );
}
