import type { Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError } from "../api/client";
import { fetchCurves, type Curves } from "../api/curves";
import { evaluate, operands, readExpression } from "./expressions";
import { asCsv, asPython, asSvg, save, savePng } from "./export";
import { MANY } from "./draw";
import { groupCurves } from "./groups";
import { LineChart } from "./LineChart";
import { areSingle, SingleValues } from "./SingleValues";
import type { Kind } from "./scales";
import { Icon } from "../parts/icons";
import { Popover } from "../parts/Popover";
import { copy } from "../parts/toast";

export interface ChartSettings {
  axis: string;
  yKind: Kind;
  smooth: number;
  zoom: [number, number] | null;
  onZoom: (range: [number, number] | null) => void;
  hovered: Signal<string | null>;
  cursor: Signal<number | null>;
}

interface Props {
  metric: string;
  runs: string[];
  name: (run: string) => string;
  settings: ChartSettings;
  /** Grows when the runs have new points. */
  tick: number;
  pinned?: boolean;
  onPin?: () => void;
  height?: number;
  /** The handle that moves the chart, and what it does when another one is dropped on it. */
  grip?: ComponentChildren;
  drop?: Partial<Record<"onDragOver" | "onDragLeave" | "onDrop", (event: DragEvent) => void>>;
  /** Id of a run → label of its group: then the chart shows the mean of each group, with its standard deviation. */
  groupOf?: Map<string, string> | null;
}

/** A chart of one metric of several runs: it asks for curves when it is visible, and again when there are new points. */
export function ChartCard({ metric, runs, name, settings, tick, pinned, onPin, height = 210, groupOf = null, grip, drop }: Props) {
  const root = useRef<HTMLElement>(null);
  const [visible, setVisible] = useState(false);
  const [log, setLog] = useState<Kind | null>(null);
  const [large, setLarge] = useState(false);
  const [data, setData] = useState<Curves | null>(null);
  const [whole, setWhole] = useState<[number, number] | null>(null);
  const [error, setError] = useState<string | null>(null);
  const took = useRef(0);
  const { axis, zoom } = settings;
  const key = runs.join();

  useEffect(() => {
    const watch = new IntersectionObserver(([entry]) => setVisible(entry?.isIntersecting ?? false), {
      rootMargin: "200px",
    });
    if (root.current) watch.observe(root.current);
    return () => watch.disconnect();
  }, []);

  useEffect(() => {
    if (!visible || !runs.length) return;
    const abort = new AbortController();
    const load = async () => {
      const began = performance.now();
      try {
        const columns = Math.min(Math.max(Math.round((root.current?.clientWidth ?? 500) - 60), 100), 2000);
        const ask = (key: string) =>
          fetchCurves({ runs, key, x: axis, columns, from: zoom?.[0] ?? null, to: zoom?.[1] ?? null }, abort.signal);
        const expression = readExpression(metric);
        let found: Curves;
        if (expression === null) found = await ask(metric);
        else {
          const keys = operands(expression);
          const parts = await Promise.all(keys.map(async (key) => [key, await ask(key)] as const));
          found = evaluate(metric, expression, new Map(parts));
        }
        took.current = performance.now() - began;
        setData(found);
        setError(null);
        if (!zoom) setWhole([found.from, found.to]);
      } catch (problem) {
        if (!abort.signal.aborted) setError(problem instanceof ApiError ? problem.message : "the server is away");
      }
    };
    void load();
    return () => abort.abort();
  }, [visible, key, metric, axis, zoom?.[0], zoom?.[1], tick]);

  const curves = useMemo(
    () => (data === null ? [] : groupOf ? groupCurves(data.curves, groupOf, [data.from, data.to], Math.min(data.columns, 400)) : data.curves),
    [data, groupOf],
  );
  const range = whole ?? (data ? ([data.from, data.to] as [number, number]) : ([0, 1] as [number, number]));
  const kind = log ?? settings.yKind;
  const single = axis === "step" && kind === "linear" && !groupOf && areSingle(curves);
  const empty = data !== null && data.curves.length === 0;

  return (
    <figure ref={root} class={large ? "card large" : "card"} data-metric={metric} {...drop}>
      <figcaption>
        {grip}
        <span class="title" title={metric}>
          {metric}
        </span>
        {data && data.curves.some((curve) => curve.nans > 0) && (
          <span class="badge bad" title="values that are not a number; they are marked on the axis">
            {data.curves.reduce((sum, curve) => sum + curve.nans, 0)} NaN
          </span>
        )}
        {curves.length > MANY && <span class="badge" title="lines: 5 %, 50 % and 95 % of the runs">density of {curves.length}</span>}
        <span class="tools">
          <button
            type="button"
            class="plain"
            title="logarithmic y axis"
            aria-pressed={kind === "log"}
            onClick={() => setLog(kind === "log" ? "linear" : "log")}
          >
            log
          </button>
          {onPin && (
            <button type="button" class="plain" title={pinned ? "unpin" : "pin to the top"} aria-pressed={pinned} onClick={onPin}>
              <Icon name="pin" />
            </button>
          )}
          <button type="button" class="plain" title={large ? "smaller" : "larger"} aria-pressed={large} onClick={() => setLarge(!large)}>
            <Icon name="expand" />
          </button>
          <Popover label={<Icon name="more" />} title="more" align="right">
            {(close) => (
              <div class="menu">
                {!single && (
                  <button type="button" onClick={() => (savePng(root.current, metric), close())}>
                    Save as PNG
                  </button>
                )}
                <button type="button" onClick={() => (save(`${metric}.svg`, asSvg(metric, curves, zoom ?? range, axis, kind, settings.smooth), "image/svg+xml"), close())}>
                  Save as SVG
                </button>
                <button type="button" onClick={() => (data && save(`${metric}.csv`, asCsv(data.curves, name, axis), "text/csv"), close())}>
                  Save as CSV
                </button>
                <button type="button" onClick={() => (void copy(asPython(metric, runs), "Python"), close())}>
                  Copy as Python
                </button>
                <button type="button" onClick={() => (setLog("symlog"), close())}>
                  Symmetric log axis
                </button>
              </div>
            )}
          </Popover>
        </span>
      </figcaption>
      {error ? (
        <p class="problem">{error}</p>
      ) : empty ? (
        <p class="soft centre">none of these runs has points here</p>
      ) : single ? (
        <SingleValues curves={curves} name={name} hovered={settings.hovered} height={large ? 420 : height} />
      ) : (
        <LineChart
          title={metric}
          curves={curves}
          whole={range}
          axis={axis}
          yKind={kind}
          smooth={settings.smooth}
          zoom={zoom}
          onZoom={settings.onZoom}
          name={name}
          hovered={settings.hovered}
          cursor={settings.cursor}
          height={large ? 420 : height}
        />
      )}
    </figure>
  );
}
