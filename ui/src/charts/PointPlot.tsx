import type { Signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { number } from "../parts/format";
import { colour, colours, isDark } from "../state/theme";
import type { Dimension } from "../views/compare/values";
import { axesOf, drawAxes, runNear, type Axes } from "./axes";
import { sized } from "./LineChart";
import { colourOf } from "./palette";

interface Props {
  ids: string[];
  names: string[];
  x: Dimension;
  y: Dimension;
  /** What gives points their colour; null: the run. */
  tint: Dimension | null;
  hovered: Signal<string | null>;
  onOpen: (id: string) => void;
  height?: number;
  /** Runs that are drawn larger, such as a Pareto front. */
  marked?: Set<string>;
  /** A line through points, such as the best value so far. */
  line?: [number, number][];
}

const RIGHT = 14;

/** Points of runs over two dimensions. */
export function PointPlot(props: Props) {
  const { ids, names, x, y, tint, hovered, onOpen, height = 260, marked, line } = props;
  const root = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const axes = useRef<Axes | null>(null);
  const version = colours.value;
  const under = hovered.value;
  const dark = isDark();
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    if (root.current) watch.observe(root.current);
    return () => watch.disconnect();
  }, []);

  useEffect(() => {
    if (!canvas.current || !width) return;
    const context = sized(canvas.current, width, height);
    const found = axesOf(context, x, y, width, height, RIGHT);
    const [across, up] = [found.x, found.y];
    axes.current = found;
    drawAxes(context, found, x, y, height);
    if (line?.length) {
      context.strokeStyle = colour("--accent");
      context.lineWidth = 1.6;
      context.beginPath();
      line.forEach(([a, b], place) => {
        if (place === 0) context.moveTo(across(a), up(b));
        else {
          context.lineTo(across(a), up(line[place - 1]![1]));
          context.lineTo(across(a), up(b));
        }
      });
      context.stroke();
    }
    const size = ids.length > 2000 ? 2 : ids.length > 300 ? 3 : 4;
    const draw = (row: number, radius: number) => {
      const [a, b] = [x.numbers[row], y.numbers[row]];
      if (a === null || b === null || a === undefined || b === undefined) return;
      context.beginPath();
      context.arc(across(a), up(b), radius, 0, 2 * Math.PI);
      context.fill();
    };
    context.globalAlpha = ids.length > 300 ? 0.6 : 0.85;
    ids.forEach((id, row) => {
      const share = tint?.numbers[row];
      context.fillStyle = tint
        ? share === null || share === undefined
          ? colour("--faint")
          : tint.categories
            ? colourOf(`category ${share}`, dark)
            : shade(tint, share)
        : marked
          ? colour(marked.has(id) ? "--accent" : "--faint")
          : colourOf(id, dark);
      draw(row, marked?.has(id) ? size + 1.5 : size);
    });
    context.globalAlpha = 1;
    const at = under === null ? -1 : ids.indexOf(under);
    if (at >= 0) {
      context.fillStyle = colour("--ink");
      draw(at, size + 3);
    }
  }, [ids, x, y, tint, width, height, version, under, line, marked]);

  return (
    <div
      ref={root}
      class="plot"
      style={{ height: `${height}px` }}
      role="img"
      aria-label={`${y.label} over ${x.label}, ${ids.length} runs`}
      onPointerMove={(event) => {
        if (!axes.current) return;
        const box = root.current!.getBoundingClientRect();
        hovered.value = runNear(axes.current, ids, x, y, event.clientX - box.left, event.clientY - box.top);
      }}
      onPointerLeave={() => (hovered.value = null)}
      onClick={() => hovered.value && onOpen(hovered.value)}
    >
      <canvas ref={canvas} />
      <span class="y-name">{y.label}</span>
      {under !== null && ids.includes(under) && <Readout x={x} y={y} tint={tint} row={ids.indexOf(under)} name={names[ids.indexOf(under)] ?? ""} />}
    </div>
  );
}

function shade(tint: Dimension, value: number): string {
  const position = tint.log ? Math.log(value / tint.low) / Math.log(tint.high / tint.low || Math.E) : (value - tint.low) / (tint.high - tint.low || 1);
  return `hsl(${215 - 195 * position} 70% 50%)`;
}

/** The values of the run below the pointer. */
export function Readout({ x, y, tint, row, name }: Pick<Props, "x" | "y" | "tint"> & { row: number; name: string }) {
  const text = (one: Dimension) => {
    const found = one.numbers[row];
    if (found === null || found === undefined) return "–";
    return one.categories ? (one.categories[found] ?? "") : number(found);
  };
  return (
    <div class="readout" style={{ right: "14px", top: "10px" }}>
      <b>{name}</b>
      {[x, y, ...(tint ? [tint] : [])].map((one) => (
        <div key={one.label}>
          <span class="soft">{one.label}</span> {text(one)}
        </div>
      ))}
    </div>
  );
}
