import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useState } from "preact/hooks";
import { ChartCard, type ChartSettings } from "../charts/ChartCard";
import type { Kind } from "../charts/scales";
import { operands, readExpression } from "../charts/expressions";
import { toast } from "../parts/toast";
import { param, setParams } from "../state/url";
import { dropping, Grip, HEIGHTS, SectionTools, useArrangement } from "./charts/arrange";
import type { KnownKey } from "./columns";
import type { Signal } from "@preact/signals";

interface Props {
  metrics: KnownKey[];
  runs: string[];
  name: (run: string) => string;
  tick: number;
  hovered: Signal<string | null>;
  /** Metrics whose sections are open at first. */
  first: string[];
  note?: string;
  groupOf?: Map<string, string> | null;
  /** The experiment, or the view, for which the order and the size of the charts are kept. */
  place: string;
  /** Finds metrics that are not among the given ones: those of older runs. */
  search?: (text: string) => Promise<KnownKey[]>;
}

const AXES: [string, string][] = [
  ["step", "step"],
  ["relative", "time since start"],
  ["time", "time"],
];

/** The section of a metric: its name up to the last slash, or up to the first one. */
function prefixOf(key: string, short: boolean): string {
  const cut = short ? key.indexOf("/") : key.lastIndexOf("/");
  return cut > 0 ? key.slice(0, cut) : "";
}

/** Whether sections of long prefixes would be many, with few charts each. */
function areMany(metrics: KnownKey[]): boolean {
  const found = new Set(metrics.map(({ key }) => prefixOf(key, false)));
  return found.size > 12 && found.size > metrics.length / 3;
}

/** Charts of metrics in sections by prefix, with one axis, one zoom and one cursor. */
export function Charts({ metrics, runs, name, tick, hovered, first, note, groupOf = null, place, search }: Props) {
  const arrangement = useArrangement(place);
  const cursor = useSignal<number | null>(null);
  const [find, setFind] = useState("");
  const [closed, setClosed] = useState<Record<string, boolean>>({});
  const [pins, setPins] = useState<string[]>(() => JSON.parse(localStorage.getItem("pins") ?? "[]") as string[]);
  const axis = param("x") || "step";
  const kind = (param("y") || "linear") as Kind;
  const smooth = Number(param("smooth") || 0);
  const range = param("range").split("~").map(Number);
  const zoom = range.length === 2 ? (range as [number, number]) : null;
  const settings: ChartSettings = {
    axis,
    yKind: kind,
    smooth,
    zoom,
    onZoom: (next) => setParams({ range: next ? next.map((one) => Number(one.toPrecision(8))).join("~") : null }),
    hovered,
    cursor,
  };

  const [older, setOlder] = useState<KnownKey[]>([]);
  useEffect(() => {
    setOlder([]);
    if (!search || find.length < 2) return;
    let current = true;
    const timer = setTimeout(() => {
      search(find).then((found) => current && setOlder(found), () => undefined);
    }, 200);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [find, metrics]);

  const sections = useMemo(() => {
    const wanted = find.toLowerCase();
    const found = new Map<string, string[]>();
    const listed = new Set(metrics.map((one) => one.key));
    const short = areMany(metrics);
    for (const { key } of [...metrics, ...older.filter((one) => !listed.has(one.key))]) {
      if (!key.toLowerCase().includes(wanted)) continue;
      const prefix = prefixOf(key, short);
      found.set(prefix, [...(found.get(prefix) ?? []), key]);
    }
    const order = first.map((key) => prefixOf(key, short));
    const weight = (prefix: string) => (order.includes(prefix) ? order.indexOf(prefix) : order.length);
    // Within a section, those that tell most are first.
    const rank = (key: string) => (first.includes(key) ? first.indexOf(key) : first.length);
    for (const keys of found.values()) keys.sort((a, b) => rank(a) - rank(b));
    return [...found].sort(([a], [b]) => weight(a) - weight(b) || a.localeCompare(b));
  }, [metrics, older, find, first.join()]);

  function pin(metric: string): void {
    const next = pins.includes(metric) ? pins.filter((one) => one !== metric) : [...pins, metric];
    setPins(next);
    localStorage.setItem("pins", JSON.stringify(next));
  }

  const added = param("charts").split("~").filter(Boolean);
  function add(text: string): void {
    const expression = readExpression(text);
    const unknown = (expression ? operands(expression) : [text]).filter((key) => !metrics.some((one) => one.key === key));
    if (!expression) toast("write an expression of metrics, with spaces around the operator: val/loss - train/loss", { bad: true });
    else if (unknown.length) toast(`no metric is named ${unknown.join(" or ")}`, { bad: true });
    else setParams({ charts: [...new Set([...added, text.trim()])].join("~") });
  }

  const known = new Set(metrics.map((one) => one.key));
  const pinned = pins.filter((one) => known.has(one));
  const axes = AXES.some(([id]) => id === axis) ? AXES : [...AXES, [axis, axis.replace("metric:", "")] as [string, string]];
  const card = (metric: string, section: string, charts: string[]) => {
    const where = { section, charts, chart: metric, arrangement };
    return (
      <ChartCard
        key={metric}
        metric={metric}
        runs={runs}
        name={name}
        settings={settings}
        tick={tick}
        pinned={pins.includes(metric)}
        onPin={() => pin(metric)}
        groupOf={groupOf}
        height={HEIGHTS[arrangement.sizeOf(section)]}
        grip={charts.length > 1 && <Grip {...where} />}
        drop={dropping(where)}
      />
    );
  };
  const cards = (section: string, keys: string[]) => {
    const charts = arrangement.sorted(section, keys);
    return <div class={`cards ${arrangement.sizeOf(section)}`}>{charts.slice(0, 200).map((one) => card(one, section, charts))}</div>;
  };

  return (
    <section class="charts" aria-label="charts">
      <div class="bar">
        <input
          type="search"
          aria-label="find a metric"
          placeholder={`find among ${metrics.length} metrics`}
          value={find}
          onInput={(event) => setFind(event.currentTarget.value)}
        />
        <label>
          x{" "}
          <select value={axis} onChange={(event) => setParams({ x: event.currentTarget.value === "step" ? null : event.currentTarget.value, range: null })}>
            {axes.map(([id, label]) => (
              <option key={id} value={id}>
                {label}
              </option>
            ))}
            {metrics.length < 500 && (
              <optgroup label="a metric">
                {metrics.slice(0, 100).map(({ key }) => (
                  <option key={key} value={`metric:${key}`}>
                    {key}
                  </option>
                ))}
              </optgroup>
            )}
          </select>
        </label>
        <label>
          y{" "}
          <select value={kind} onChange={(event) => setParams({ y: event.currentTarget.value === "linear" ? null : event.currentTarget.value })}>
            <option>linear</option>
            <option>log</option>
            <option>symlog</option>
          </select>
        </label>
        <label title="exponential smoothing, drawn over the points">
          smooth{" "}
          <input
            type="range"
            min="0"
            max="0.99"
            step="0.01"
            value={smooth}
            onInput={(event) => setParams({ smooth: Number(event.currentTarget.value) ? event.currentTarget.value : null }, { replace: true })}
          />{" "}
          <output>{smooth || "none"}</output>
        </label>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            const field = event.currentTarget.elements.namedItem("expression") as HTMLInputElement;
            add(field.value);
            field.value = "";
          }}
        >
          <input name="expression" class="expression" aria-label="add a chart of an expression" placeholder="+ a - b" title="a chart of an expression, such as val/loss - train/loss" />
        </form>
        {zoom && (
          <button type="button" onClick={() => settings.onZoom(null)}>
            whole range (z)
          </button>
        )}
        {note && <span class="soft push">{note}</span>}
      </div>
      {added.length > 0 && runs.length > 0 && (
        <details open>
          <summary>
            expressions <span class="soft">{added.length}</span>
          </summary>
          <div class="cards">
            {added.map((one) => (
              <div key={one}>
                {card(one, "expressions", [one])}
                <button type="button" class="plain" onClick={() => setParams({ charts: added.filter((other) => other !== one).join("~") })}>
                  remove {one}
                </button>
              </div>
            ))}
          </div>
        </details>
      )}
      {!runs.length && <p class="soft centre">No run to draw.</p>}
      {runs.length > 0 && !metrics.length && <p class="soft centre">No metric was logged yet.</p>}
      {runs.length > 0 && pinned.length > 0 && (
        <div class="section">
          <details open>
            <summary>
              pinned <span class="soft">{pinned.length}</span>
            </summary>
            {cards("pinned", pinned)}
          </details>
          <SectionTools section="pinned" arrangement={arrangement} />
        </div>
      )}
      {(runs.length ? sections : []).map(([prefix, keys], index) => {
        const open = !(closed[prefix] ?? (index > 2 && !find));
        return (
          <div class="section" key={prefix}>
            <details
              open={open}
              onToggle={(event) => {
                const { open: now } = event.currentTarget;
                if (now !== open) setClosed({ ...closed, [prefix]: !now });
              }}
            >
              <summary>
                {prefix || "metrics"} <span class="soft">{keys.length}</span>
              </summary>
              {open && cards(prefix, keys)}
            </details>
            {open && <SectionTools section={prefix} arrangement={arrangement} />}
          </div>
        );
      })}
      <span class="hidden" role="status">
        {arrangement.said}
      </span>
    </section>
  );
}
