import type { Signal } from "@preact/signals";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { sized } from "../../charts/LineChart";
import { makeScale, tickLabel, type Scale } from "../../charts/scales";
import { colour, colours } from "../../state/theme";
import { go } from "../../state/url";
import type { RunRecord } from "../../api/types";
import { AllRuns } from "./AllRuns";
import { dimension, mostTelling, ofRuns, type Dimension, type Plotted } from "./values";

const HEIGHT = 420;
const TOP = 44;
const BOTTOM = 24;
const SIDE = 60;

interface Props {
  runs: RunRecord[];
  hovered: Signal<string | null>;
}

type Brush = Record<string, [number, number]>;

/** Parallel coordinates: one line a run. Drag along an axis to keep a range of it; drag its name to move it. */
export function Parallel({ runs, hovered }: Props) {
  const [all, setAll] = useState<Plotted | null>(null);
  const [chosen, setChosen] = useState<string[] | null>(null);
  const [brush, setBrush] = useState<Brush>({});
  const own = useMemo(() => ofRuns(runs), [runs]);
  const plotted = all ?? own;
  const labels = Object.keys(plotted.values);
  const metrics = new Set(runs.flatMap((run) => Object.keys(run.metrics)));
  const shown = (chosen ?? mostTelling(plotted, metrics)).filter((label) => label in plotted.values);
  const dimensions = useMemo(() => shown.map((label) => dimension(label, plotted.values[label]!)), [plotted, shown.join("\0")]);

  const kept = plotted.ids.map((_, row) =>
    dimensions.every((one) => {
      const range = brush[one.label];
      const found = one.numbers[row];
      return !range || (found !== null && found !== undefined && found >= range[0] && found <= range[1]);
    }),
  );
  const count = kept.filter(Boolean).length;
  return (
    <>
      <div class="bar">
        <AllRuns runs={runs} all={all} setAll={setAll} />
        <label>
          axis{" "}
          <select
            value=""
            onChange={(event) => {
              const label = event.currentTarget.value;
              if (label) setChosen(shown.includes(label) ? shown.filter((one) => one !== label) : [...shown, label]);
            }}
          >
            <option value="">add or remove …</option>
            {labels.map((label) => (
              <option key={label} value={label}>
                {shown.includes(label) ? "✓ " : ""}
                {label}
              </option>
            ))}
          </select>
        </label>
        <span class="soft">
          {count} of {plotted.ids.length} runs
        </span>
        {Object.keys(brush).length > 0 && (
          <>
            <button type="button" onClick={() => setBrush({})}>
              no ranges
            </button>
            <button type="button" onClick={() => go(`/compare?r=${plotted.ids.filter((_, row) => kept[row]).slice(0, 60).join(",")}&tab=parallel`)}>
              compare these
            </button>
          </>
        )}
      </div>
      <Plot plotted={plotted} dimensions={dimensions} kept={kept} brush={brush} setBrush={setBrush} hovered={hovered} onOrder={setChosen} />
    </>
  );
}

interface PlotProps {
  plotted: Plotted;
  dimensions: Dimension[];
  kept: boolean[];
  brush: Brush;
  setBrush: (brush: Brush) => void;
  hovered: Signal<string | null>;
  onOrder: (labels: string[]) => void;
}

function Plot({ plotted, dimensions, kept, brush, setBrush, hovered, onOrder }: PlotProps) {
  const root = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const drag = useRef<{ axis: number; begin: number; move: boolean } | null>(null);
  const version = colours.value;
  const marked = hovered.value;
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    if (root.current) watch.observe(root.current);
    return () => watch.disconnect();
  }, []);
  const scales: Scale[] = dimensions.map((one) => makeScale(one.log ? "log" : "linear", [one.low, one.high], [HEIGHT - BOTTOM, TOP]));
  const step = (width - 2 * SIDE) / Math.max(dimensions.length - 1, 1);
  const x = (axis: number) => SIDE + axis * step;

  useEffect(() => {
    if (!canvas.current || !width || !dimensions.length) return;
    const context = sized(canvas.current, width, HEIGHT);
    const last = dimensions.length - 1;
    const tint = (row: number) => {
      const found = dimensions[last]!.numbers[row];
      const share = found === null || found === undefined ? 0.5 : (scales[last]!(found) - TOP) / (HEIGHT - BOTTOM - TOP);
      return `hsl(${215 - 195 * Math.min(Math.max(share, 0), 1)} 70% 50%)`;
    };
    const line = (row: number) => {
      context.beginPath();
      let open = false;
      dimensions.forEach((one, axis) => {
        const found = one.numbers[row];
        if (found === null || found === undefined) {
          open = false;
          return;
        }
        const y = scales[axis]!(found);
        if (open) context.lineTo(x(axis), y);
        else context.moveTo(x(axis), y);
        open = true;
      });
      context.stroke();
    };
    const many = plotted.ids.length > 200;
    context.lineWidth = 1;
    context.strokeStyle = colour("--line");
    if (plotted.ids.length < 3000) plotted.ids.forEach((_, row) => !kept[row] && line(row));
    context.globalAlpha = many ? 0.35 : 0.85;
    context.lineWidth = many ? 1 : 1.5;
    plotted.ids.forEach((_, row) => {
      if (!kept[row]) return;
      context.strokeStyle = tint(row);
      line(row);
    });
    context.globalAlpha = 1;
    const place = marked === null ? -1 : plotted.ids.indexOf(marked);
    if (place >= 0) {
      context.lineWidth = 3;
      context.strokeStyle = colour("--ink");
      line(place);
    }
    context.font = "11px ui-monospace, SFMono-Regular, Menlo, monospace";
    dimensions.forEach((one, axis) => {
      context.strokeStyle = colour("--edge");
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(x(axis), TOP);
      context.lineTo(x(axis), HEIGHT - BOTTOM);
      context.stroke();
      const range = brush[one.label];
      if (range) {
        const [a, b] = [scales[axis]!(range[0]), scales[axis]!(range[1])];
        context.fillStyle = colour("--select");
        context.strokeStyle = colour("--accent");
        context.beginPath();
        context.rect(x(axis) - 6, Math.min(a, b), 12, Math.abs(b - a));
        context.fill();
        context.stroke();
      }
      context.fillStyle = colour("--soft");
      context.textAlign = axis === last ? "right" : "left";
      context.textBaseline = "middle";
      const side = axis === last ? -5 : 5;
      const marks = one.categories
        ? one.categories.slice(0, 20).map((label, value) => ({ value, label }))
        : [...new Set([one.low, ...scales[axis]!.ticks(5), one.high])]
            .filter((value, at, list) => at === 0 || at === list.length - 1 || Math.min(Math.abs(scales[axis]!(value) - scales[axis]!(one.low)), Math.abs(scales[axis]!(value) - scales[axis]!(one.high))) > 14)
            .filter((value) => !one.log || Math.abs(Math.log10(value) % 1) < 1e-9 || value === one.low || value === one.high)
            .map((value) => ({ value, label: tickLabel(value) }));
      for (const { value, label } of marks) {
        context.lineWidth = 3;
        context.strokeStyle = colour("--paper");
        context.strokeText(label.slice(0, 16), x(axis) + side, scales[axis]!(value));
        context.fillText(label.slice(0, 16), x(axis) + side, scales[axis]!(value));
      }
    });
  }, [plotted, dimensions, kept.join(""), width, version, marked, brush]);

  function inside(event: PointerEvent): { px: number; py: number; axis: number } {
    const box = root.current!.getBoundingClientRect();
    const px = event.clientX - box.left;
    const axis = Math.min(Math.max(Math.round((px - SIDE) / step), 0), dimensions.length - 1);
    return { px, py: Math.min(Math.max(event.clientY - box.top, TOP), HEIGHT - BOTTOM), axis };
  }

  if (!dimensions.length) return <p class="soft centre">These runs do not differ in any parameter, and have no metrics.</p>;
  return (
    <div
      ref={root}
      class="parallel"
      style={{ height: `${HEIGHT}px` }}
      role="img"
      aria-label={`parallel coordinates of ${plotted.ids.length} runs over ${dimensions.map((one) => one.label).join(", ")}`}
      data-kept={kept.filter(Boolean).length}
      onPointerDown={(event) => {
        const { px, py, axis } = inside(event);
        if (Math.abs(px - x(axis)) > 26) return;
        drag.current = { axis, begin: py, move: false };
        root.current!.setPointerCapture(event.pointerId);
      }}
      onPointerMove={(event) => {
        const { px, py, axis } = inside(event);
        const { current } = drag;
        if (current) {
          if (Math.abs(py - current.begin) < 4) return;
          const scale = scales[current.axis]!;
          const ends = [scale.invert(current.begin), scale.invert(py)].sort((a, b) => a - b) as [number, number];
          setBrush({ ...brush, [dimensions[current.axis]!.label]: ends });
          current.move = true;
          return;
        }
        let best: string | null = null;
        let away = 12;
        const left = Math.min(Math.floor((px - SIDE) / step), dimensions.length - 2);
        if (left >= 0) {
          const share = (px - x(left)) / step;
          plotted.ids.forEach((id, row) => {
            const [a, b] = [dimensions[left]!.numbers[row], dimensions[left + 1]!.numbers[row]];
            if (!kept[row] || a === null || b === null || a === undefined || b === undefined) return;
            const y = scales[left]!(a) * (1 - share) + scales[left + 1]!(b) * share;
            if (Math.abs(y - py) < away) [best, away] = [id, Math.abs(y - py)];
          });
        }
        hovered.value = best;
        root.current!.title = best === null ? (dimensions[axis]?.label ?? "") : (plotted.names[plotted.ids.indexOf(best)] ?? "");
      }}
      onPointerUp={() => {
        const { current } = drag;
        if (current && !current.move) {
          const { [dimensions[current.axis]!.label]: _, ...rest } = brush;
          setBrush(rest);
        }
        drag.current = null;
      }}
      onPointerLeave={() => (hovered.value = null)}
      onDblClick={() => hovered.value && go(`/run/${hovered.value}`)}
    >
      <canvas ref={canvas} />
      {dimensions.map((one, axis) => (
        <span key={one.label} class={axis === 0 ? "axis-name first" : axis === dimensions.length - 1 ? "axis-name last" : "axis-name"} style={{ left: `${x(axis)}px` }}>
          <button
            type="button"
            class="plain"
            title={`${one.label}: move to the left`}
            disabled={axis === 0}
            onPointerDown={(event) => event.stopPropagation()}
            onClick={() => {
              const next = dimensions.map((other) => other.label);
              [next[axis - 1], next[axis]] = [next[axis]!, next[axis - 1]!];
              onOrder(next);
            }}
          >
            {one.label.length > 18 ? `…${one.label.slice(-17)}` : one.label}
            {one.log ? " (log)" : ""}
          </button>
        </span>
      ))}
    </div>
  );
}
