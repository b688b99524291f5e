import type { Signal } from "@preact/signals";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { sized } from "../../charts/LineChart";
import { makeScale, xTicks } from "../../charts/scales";
import { duration, plural } from "../../parts/format";
import { look } from "../../parts/status";
import { colour, colours } from "../../state/theme";
import { go, param, setParams } from "../../state/url";

type Row = [number: number, run: string, status: string, runner: string, start: number | null, end: number | null, host: string];

const BY = { runner: 3, host: 6 } as const;

const LANE = 20;
const LEFT = 130;
const BOTTOM = 22;
const MOST_LANES = 40;

/** A line of bars: one of a runner or host; further ones where trials of it overlap. */
interface Lane {
  /** Its name; "" for further lanes. */
  label: string;
  rows: Row[];
}

function lanesOf(rows: Row[], by: keyof typeof BY, now: number): Lane[] {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const name = row[BY[by]] || `no ${by}`;
    groups.set(name, [...(groups.get(name) ?? []), row]);
  }
  return [...groups]
    .sort(([a], [b]) => a.localeCompare(b, undefined, { numeric: true }))
    .flatMap(([label, own]) => {
      const lanes: { until: number; lane: Lane }[] = [];
      for (const row of [...own].sort((a, b) => a[4]! - b[4]!)) {
        let free = lanes.find(({ until }) => until <= row[4]!);
        if (!free) {
          free = { until: 0, lane: { label: lanes.length ? "" : label, rows: [] } };
          lanes.push(free);
        }
        free.lane.rows.push(row);
        free.until = row[5] ?? now;
      }
      return lanes.map(({ lane }) => lane);
    });
}

/** When each runner, or each host, ran which trial. */
export function Timeline({ rows, hovered }: { rows: Row[]; hovered: Signal<string | null> }) {
  const root = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const version = colours.value;
  const under = hovered.value;
  const started = useMemo(() => rows.filter((row) => row[4] !== null), [rows]);
  const by = param("lanes") === "host" ? "host" : "runner";
  const now = useMemo(() => Date.now() / 1000, [started]);
  const all = useMemo(() => lanesOf(started, by, now), [started, by]);
  const lanes = useMemo(() => all.slice(0, MOST_LANES), [all]);
  const names = new Set(started.map((row) => row[BY[by]] || `no ${by}`)).size;
  const height = lanes.length * LANE + BOTTOM;
  const low = Math.min(...started.map((row) => row[4]!));
  const high = Math.max(...started.map((row) => row[5] ?? now), low + 0.001);
  const x = makeScale("linear", [low, high], [LEFT, Math.max(width - 8, LEFT + 10)]);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    if (root.current) watch.observe(root.current);
    return () => watch.disconnect();
  }, [started.length > 0]);
  useEffect(() => {
    if (!canvas.current || !width || !lanes.length) return;
    const context = sized(canvas.current, width, height);
    context.font = "11px ui-monospace, SFMono-Regular, Menlo, monospace";
    context.textBaseline = "middle";
    lanes.forEach(({ label, rows: own }, place) => {
      context.globalAlpha = 1;
      context.fillStyle = colour("--soft");
      context.textAlign = "left";
      context.fillText(label.length > 18 ? `…${label.slice(-17)}` : label, 0, place * LANE + LANE / 2);
      for (const [, run, status, , start, end] of own) {
        const begin = x(start!);
        context.fillStyle = run === under ? colour("--ink") : colour(look(status).colour);
        context.globalAlpha = run === under ? 1 : 0.75;
        context.fillRect(begin, place * LANE + 4, Math.max(x(end ?? now) - begin - 1, 2), LANE - 8);
      }
    });
    context.globalAlpha = 1;
    context.fillStyle = colour("--soft");
    context.textAlign = "center";
    for (const { value, label } of xTicks(x, "time", Math.floor((width - LEFT) / 110))) context.fillText(label, x(value), height - 9);
  }, [lanes, width, version, under]);
  if (!started.length) return null;

  function at(event: PointerEvent | MouseEvent): Row | undefined {
    const box = root.current!.getBoundingClientRect();
    const lane = lanes[Math.floor((event.clientY - box.top) / LANE)];
    const moment = x.invert(event.clientX - box.left);
    const slack = x.invert(LEFT + 3) - x.invert(LEFT);
    return lane?.rows.find((row) => moment >= row[4]! - slack && moment <= (row[5] ?? now) + slack);
  }

  return (
    <>
      <h2 class="row">
        Timeline by
        <select aria-label="lanes of the timeline" value={by} onChange={(event) => setParams({ lanes: event.currentTarget.value === "host" ? "host" : null })}>
          <option>runner</option>
          <option>host</option>
        </select>
        {all.length > lanes.length && <span class="soft">the first {MOST_LANES} lines</span>}
      </h2>
      <div
        ref={root}
        class="plot"
        style={{ height: `${height}px` }}
        role="img"
        aria-label={`${started.length} trials of ${plural(names, by)} over ${duration(high - low)}`}
        onPointerMove={(event) => {
          const row = at(event);
          hovered.value = row?.[1] ?? null;
          root.current!.title = row ? `#${row[0]}, ${look(row[2]).word}, ${duration((row[5] ?? now) - row[4]!)}` : "";
        }}
        onPointerLeave={() => (hovered.value = null)}
        onClick={(event) => {
          const row = at(event);
          if (row) go(`/run/${row[1]}`);
        }}
      >
        <canvas ref={canvas} />
      </div>
    </>
  );
}
