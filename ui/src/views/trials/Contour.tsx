import type { Signal } from "@preact/signals";
import { useEffect, useMemo, useState } from "preact/hooks";
import { post, quoted, type Schemas } from "../../api/client";
import { ContourPlot } from "../../charts/ContourPlot";
import { go, param, setParams } from "../../state/url";
import { dimension, type Dimension } from "../compare/values";

type Trial = Schemas["Results"]["trials"][number];

interface Props {
  experiment: string;
  /** The search space: it says which parameters have a logarithmic axis. */
  space: Record<string, { log?: boolean }>;
  trials: Trial[];
  metric: string;
  direction: string;
  /** Parameters, the most important one first. */
  order: string[];
  hovered: Signal<string | null>;
  /** Changes when trials ended. */
  tick: unknown;
}

const LEAST = 4;
const FAILED = "status in ('FAILED', 'OUT_OF_MEMORY', 'TIMEOUT', 'NODE_FAIL', 'BOOT_FAIL', 'DEADLINE')";

function asDimension(key: string, column: unknown[], space: Props["space"]): Dimension {
  const found = dimension(key, column);
  const log = space[key]?.log;
  return { ...found, log: log === undefined ? found.log : log && !found.categories && found.low > 0 };
}

/** Two parameters against an objective. */
export function Contour({ experiment, space, trials, metric, direction, order, hovered, tick }: Props) {
  const names = useMemo(() => {
    const all = [...new Set([...order, ...trials.flatMap((one) => Object.keys(one.params as object))])];
    return all.filter((key) => new Set(trials.map((one) => JSON.stringify((one.params as Record<string, unknown>)[key] ?? null))).size > 1);
  }, [trials, order.join()]);
  const [first, second] = useMemo(() => {
    const isNumber = (key: string) => trials.every((one) => typeof ((one.params as Record<string, unknown>)[key] ?? 0) === "number");
    return [...names.filter(isNumber), ...names.filter((key) => !isNumber(key))];
  }, [names]);
  const [wantedX, wantedY] = param("contour").split("~");
  const x = names.includes(wantedX ?? "") ? wantedX! : first;
  const y = names.includes(wantedY ?? "") && wantedY !== x ? wantedY! : x === first ? second : first;
  const [crosses, setCrosses] = useState<unknown[][]>([]);
  useEffect(() => {
    if (!x || !y) return;
    let current = true;
    const columns = [`params.${quoted(x)}`, `params.${quoted(y)}`];
    post<Schemas["TableAnswer"]>("/api/table", { experiment, where: FAILED, columns, limit: 1000 }).then(
      (found) => current && setCrosses(found.ids.map((_, row) => columns.map((name) => found.columns[name]?.[row] ?? null))),
      () => undefined,
    );
    return () => {
      current = false;
    };
  }, [experiment, x, y, tick]);

  const usable = useMemo(() => {
    const has = (one: Trial, key: string) => (one.params as Record<string, unknown>)[key] != null;
    return x && y ? trials.filter((one) => one.feasible && one.values[metric] != null && has(one, x) && has(one, y)) : [];
  }, [trials, x, y, metric]);
  const plotted = useMemo(() => {
    if (!x || !y) return null;
    // Failed trials are within the axes, too.
    const columns = [x, y].map((key, place) => [...usable.map((one) => (one.params as Record<string, unknown>)[key]), ...crosses.map((one) => one[place])]);
    const [across, up] = [asDimension(x, columns[0]!, space), asDimension(y, columns[1]!, space)];
    const failed = crosses.map((_, place) => [across.numbers[usable.length + place], up.numbers[usable.length + place]]);
    return {
      ids: usable.map((one) => one.run),
      names: usable.map((one) => `#${one.number}`),
      x: across,
      y: up,
      z: dimension(metric, usable.map((one) => one.values[metric] ?? null)),
      crosses: failed.filter((one): one is [number, number] => one[0] != null && one[1] != null),
    };
  }, [usable, crosses, x, y]);

  const chooser = (label: string, chosen: string, change: (key: string) => void) => (
    <select aria-label={label} value={chosen} onChange={(event) => change(event.currentTarget.value)}>
      {names.map((key) => (
        <option key={key}>{key}</option>
      ))}
    </select>
  );
  return (
    <figure class="card contour">
      <figcaption>
        <span class="title">Contour</span>
        {x && y && (
          <>
            {chooser("parameter to the right", x, (key) => setParams({ contour: `${key}~${key === y ? x : y}` }))}
            <span class="soft">×</span>
            {chooser("parameter upwards", y, (key) => setParams({ contour: `${key === x ? y : x}~${key}` }))}
          </>
        )}
      </figcaption>
      {!plotted ? (
        <p class="soft centre">A contour needs two parameters that differ between trials.</p>
      ) : usable.length < LEAST ? (
        <p class="soft centre">
          A contour needs at least {LEAST} completed trials with both parameters; there {usable.length === 1 ? "is" : "are"} {usable.length}.
        </p>
      ) : (
        <>
          <ContourPlot {...plotted} least={direction === "min"} hovered={hovered} onOpen={(id) => go(`/run/${id}`)} />
          <p class="soft legend">
            ○ trial <b class="best">●</b> best{plotted.crosses.length > 0 && <> <b class="problem">×</b> failed</>} · the brighter, the better; interpolated between trials
          </p>
        </>
      )}
    </figure>
  );
}
