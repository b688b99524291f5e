import type { Signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { colour, colours } from "../state/theme";
import type { Dimension } from "../views/compare/values";
import { axesOf, drawAxes, kindOf, runNear, type Axes } from "./axes";
import { sized } from "./LineChart";
import { Readout } from "./PointPlot";
import { makeScale, ticks } from "./scales";
import { bandsOf, outlines, shadeOf, surface, type Site } from "./surface";

interface Props {
  ids: string[];
  names: string[];
  x: Dimension;
  y: Dimension;
  /** The objective, which gives places their colour. */
  z: Dimension;
  /** Whether the least value is the best one; the best is bright. */
  least: boolean;
  /** Where trials failed. */
  crosses: [number, number][];
  hovered: Signal<string | null>;
  onOpen: (id: string) => void;
}

const HEIGHT = 300;
const MARGIN = 84;
const CELLS = 60;
const MANY = 1500;
const DOT = 3.2;

/** An objective over two parameters: interpolated colours, trials as dots, and failed trials as crosses. */
export function ContourPlot(props: Props) {
  const { ids, names, x, y, z, least, crosses, hovered, onOpen } = props;
  const root = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const field = useRef<HTMLCanvasElement | null>(null);
  const axes = useRef<Axes | null>(null);
  const [width, setWidth] = useState(0);
  const version = colours.value;
  const under = hovered.value;
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    if (root.current) watch.observe(root.current);
    return () => watch.disconnect();
  }, []);

  // The colours are drawn once; moving the pointer draws dots over them.
  useEffect(() => {
    if (!width) return;
    field.current ??= document.createElement("canvas");
    const context = sized(field.current, width, HEIGHT);
    axes.current = axesOf(context, x, y, width, HEIGHT, MARGIN);
    drawAxes(context, axes.current, x, y, HEIGHT);
    fill(context, axes.current, props);
    drawBar(context, axes.current, z, least);
  }, [ids, x, y, z, least, width, version]);

  useEffect(() => {
    if (!width || !canvas.current || !field.current || !axes.current) return;
    const context = sized(canvas.current, width, HEIGHT);
    context.drawImage(field.current, 0, 0, width, HEIGHT);
    drawTrials(context, axes.current, props, under === null ? -1 : ids.indexOf(under));
  }, [ids, x, y, z, least, crosses, width, version, under]);

  const row = under === null ? -1 : ids.indexOf(under);
  return (
    <div
      ref={root}
      class="plot"
      style={{ height: `${HEIGHT}px` }}
      role="img"
      aria-label={`${z.label} over ${x.label} and ${y.label}: ${ids.length} trials, ${crosses.length} failed`}
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
      {row >= 0 && <Readout x={x} y={y} tint={z} row={row} name={names[row] ?? ""} />}
    </div>
  );
}

function shareOf(z: Dimension, least: boolean, value: number): number {
  const share = z.log ? Math.log(value / z.low) / (Math.log(z.high / z.low) || 1) : (value - z.low) / (z.high - z.low || 1);
  return least ? 1 - share : share;
}

/** Fill the plot with the colours of the interpolated values: bands of numbers, cells of categories. */
function fill(context: CanvasRenderingContext2D, axes: Axes, { ids, x, y, z, least }: Props): void {
  const { left, right, top, bottom } = axes;
  const [across, down] = [right - left, bottom - top];
  const sites: Site[] = [];
  ids.forEach((_, row) => {
    const [a, b, value] = [x.numbers[row], y.numbers[row], z.numbers[row]];
    if (a == null || b == null || value == null) return;
    sites.push({ u: (axes.x(a) - left) / across, v: (axes.y(b) - top) / down, value: shareOf(z, least, value) });
  });
  const cells = sites.length > MANY ? CELLS / 2 : CELLS;
  const [columns, rows] = [x.categories?.length ?? cells, y.categories?.length ?? cells];
  const values = surface(sites, columns, rows);
  if (x.categories || y.categories) {
    const [wide, high] = [across / columns, down / rows];
    values.forEach((value, place) => {
      if (Number.isNaN(value)) return;
      context.fillStyle = shadeOf(value);
      context.fillRect(left + (place % columns) * wide, top + Math.floor(place / columns) * high, wide + 0.5, high + 0.5);
    });
    return;
  }
  for (const { value, rings } of outlines(values, columns, rows, bandsOf(0, 1))) {
    context.beginPath();
    for (const ring of rings) {
      ring.forEach(([a, b], place) => context[place ? "lineTo" : "moveTo"](left + (a / columns) * across, top + (b / rows) * down));
      context.closePath();
    }
    context.fillStyle = shadeOf(value + 0.5 / bandsOf(0, 1).length);
    context.fill("evenodd");
  }
}

function drawTrials(context: CanvasRenderingContext2D, axes: Axes, { ids, x, y, z, least, crosses }: Props, under: number): void {
  let best = -1;
  ids.forEach((_, row) => {
    const value = z.numbers[row];
    if (value != null && (best < 0 || (least ? value < z.numbers[best]! : value > z.numbers[best]!))) best = row;
  });
  const dot = (row: number, radius: number) => {
    const [a, b] = [x.numbers[row], y.numbers[row]];
    if (a == null || b == null) return;
    context.beginPath();
    context.arc(axes.x(a), axes.y(b), radius, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  };
  context.lineWidth = 1;
  context.fillStyle = "#fff";
  context.strokeStyle = "#222";
  ids.forEach((_, row) => dot(row, ids.length > MANY ? 1.8 : DOT));
  for (const [style, size] of [["#fff", 4], [colour("--bad"), 1.8]] as const) {
    context.strokeStyle = style;
    context.lineWidth = size;
    context.beginPath();
    for (const [a, b] of crosses) {
      const [px, py] = [axes.x(a), axes.y(b)];
      context.moveTo(px - 4, py - 4);
      context.lineTo(px + 4, py + 4);
      context.moveTo(px + 4, py - 4);
      context.lineTo(px - 4, py + 4);
    }
    context.stroke();
  }
  context.strokeStyle = "#fff";
  context.lineWidth = 2;
  context.fillStyle = "#d4145a";
  if (best >= 0) dot(best, DOT + 2.5);
  context.fillStyle = "#000";
  if (under >= 0) dot(under, DOT + 2);
}

/** The colours of the values, to the right of the plot. */
function drawBar(context: CanvasRenderingContext2D, axes: Axes, z: Dimension, least: boolean): void {
  const { right, top, bottom } = axes;
  const [left, from, to] = [right + 16, top + 14, bottom];
  const scale = makeScale(kindOf(z), [z.low, z.high], [to, from]);
  const bands = bandsOf(0, 1).length;
  for (let band = 0; band < bands; band++) {
    const share = (band + 0.5) / bands;
    context.fillStyle = shadeOf(least ? 1 - share : share);
    context.fillRect(left, to - ((band + 1) * (to - from)) / bands, 12, (to - from) / bands + 0.5);
  }
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillStyle = colour("--soft");
  for (const { value, label } of ticks(scale, kindOf(z), 5)) context.fillText(label, left + 17, scale(value));
  context.fillStyle = colour("--ink");
  context.textBaseline = "top";
  context.fillText(z.label.length > 11 ? `…${z.label.slice(-10)}` : z.label, left - 6, top - 6);
}
