import type { Signal } from "@preact/signals";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { sized } from "../../charts/LineChart";
import { makeScale, xTicks } from "../../charts/scales";
import { duration } from "../../parts/format";
import { look } from "../../parts/status";
import { colour, colours } from "../../state/theme";
import { go } from "../../state/url";

type Row = [number: number, run: string, status: string, runner: string, start: number | null, end: number | null];

const LANE = 20;
const LEFT = 130;
const BOTTOM = 22;
const MOST_LANES = 40;

/** When each runner ran which trial. */
export function Timeline({ rows, hovered }: { rows: Row[]; hovered: Signal<string | null> }) {
  const root = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const version = colours.value;
  const under = hovered.value;
  const started = useMemo(() => rows.filter((row) => row[4] !== null), [rows]);
  const lanes = useMemo(() => [...new Set(started.map((row) => row[3] || "no runner"))].sort().slice(0, MOST_LANES), [started]);
  const height = lanes.length * LANE + BOTTOM;
  const now = Date.now() / 1000;
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
    lanes.forEach((lane, place) => {
      context.fillStyle = colour("--soft");
      context.textAlign = "left";
      context.fillText(lane.length > 18 ? `…${lane.slice(-17)}` : lane, 0, place * LANE + LANE / 2);
    });
    for (const [, run, status, runner, start, end] of started) {
      const lane = lanes.indexOf(runner || "no runner");
      if (lane < 0) continue;
      const begin = x(start!);
      context.fillStyle = run === under ? colour("--ink") : colour(look(status).colour);
      context.globalAlpha = run === under ? 1 : 0.75;
      context.fillRect(begin, lane * LANE + 4, Math.max(x(end ?? now) - begin - 1, 2), LANE - 8);
    }
    context.globalAlpha = 1;
    context.fillStyle = colour("--soft");
    context.textAlign = "center";
    for (const { value, label } of xTicks(x, "time", Math.floor((width - LEFT) / 110))) context.fillText(label, x(value), height - 9);
  }, [started, width, version, under]);
  if (!started.length) return null;

  function at(event: PointerEvent | MouseEvent): Row | undefined {
    const box = root.current!.getBoundingClientRect();
    const lane = lanes[Math.floor((event.clientY - box.top) / LANE)];
    const moment = x.invert(event.clientX - box.left);
    const slack = x.invert(LEFT + 3) - x.invert(LEFT);
    return started.find((row) => (row[3] || "no runner") === lane && moment >= row[4]! - slack && moment <= (row[5] ?? now) + slack);
  }

  return (
    <>
      <h2>Timeline by runner</h2>
      <div
        ref={root}
        class="plot"
        style={{ height: `${height}px` }}
        role="img"
        aria-label={`${started.length} trials of ${lanes.length} runners over ${duration(high - low)}`}
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
