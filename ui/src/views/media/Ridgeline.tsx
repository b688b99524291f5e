import { useEffect, useRef, useState } from "preact/hooks";
import { sized } from "../../charts/LineChart";
import { tickLabel } from "../../charts/scales";
import { number } from "../../parts/format";
import { colour, colours } from "../../state/theme";
import type { MediaRecord } from "../../api/types";

export interface HistogramValue {
  counts: number[];
  edges: number[];
}

const MOST = 40;
const HEIGHT = 200;

/** Histograms of many steps, one behind the other; the newest is in front. */
export function Ridgeline({ records, step }: { records: MediaRecord[]; step: number | null }) {
  const root = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const version = colours.value;
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    if (root.current) watch.observe(root.current);
    return () => watch.disconnect();
  }, []);
  const every = Math.ceil(records.length / MOST);
  const shown = records.filter((_, place) => place % every === 0 || place === records.length - 1);

  useEffect(() => {
    if (!canvas.current || !width) return;
    const context = sized(canvas.current, width, HEIGHT);
    const histograms = shown.map((one) => ({ step: one.step, ...histogram(one.value) })).filter((one) => one.counts.length);
    if (!histograms.length) return;
    const low = Math.min(...histograms.map((one) => one.edges[0]!));
    const high = Math.max(...histograms.map((one) => one.edges[one.edges.length - 1]!));
    const most = Math.max(...histograms.flatMap((one) => one.counts.map((count, i) => count / ((one.edges[i + 1]! - one.edges[i]!) || 1))));
    const room = HEIGHT - 24;
    const single = histograms.length === 1;
    const tall = single ? room - 8 : room * 0.42;
    const x = (some: number) => 8 + ((some - low) / (high - low || 1)) * (width - 60);
    histograms.forEach((one, place) => {
      const base = single ? room : 6 + tall + (place / (histograms.length - 1)) * (room - tall - 6);
      const marked = one.step === step;
      context.beginPath();
      context.moveTo(x(one.edges[0]!), base);
      one.counts.forEach((count, i) => {
        const top = base - (count / ((one.edges[i + 1]! - one.edges[i]!) || 1) / most) * tall;
        context.lineTo(x(one.edges[i]!), top);
        context.lineTo(x(one.edges[i + 1]!), top);
      });
      context.lineTo(x(one.edges[one.edges.length - 1]!), base);
      context.closePath();
      context.fillStyle = marked ? colour("--select") : colour("--paper");
      context.fill();
      context.strokeStyle = marked ? colour("--accent") : colour("--soft");
      context.lineWidth = marked ? 1.6 : 0.8;
      context.stroke();
      if (one.step !== null && (marked || place === 0 || place === histograms.length - 1)) {
        context.fillStyle = colour("--soft");
        context.font = "10.5px ui-monospace, monospace";
        context.textAlign = "right";
        context.fillText(number(one.step), width - 2, base);
      }
    });
    context.fillStyle = colour("--soft");
    context.font = "10.5px ui-monospace, monospace";
    context.textAlign = "left";
    context.fillText(tickLabel(low), 6, HEIGHT - 4);
    context.textAlign = "right";
    context.fillText(tickLabel(high), width - 50, HEIGHT - 4);
  }, [width, step, version, records]);

  return (
    <div ref={root} style={{ height: `${HEIGHT}px` }} role="img" aria-label={`histograms of ${records.length} steps`}>
      <canvas ref={canvas} />
    </div>
  );
}

function histogram(any: unknown): HistogramValue {
  const found = (any ?? {}) as Partial<HistogramValue> & { bins?: number[] };
  return { counts: found.counts ?? [], edges: found.edges ?? found.bins ?? [] };
}
