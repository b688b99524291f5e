/** Axes of plots whose points are runs, and which run is near to the pointer. */
import { colour } from "../state/theme";
import type { Dimension } from "../views/compare/values";
import { makeScale, ticks, type Kind, type Scale } from "./scales";

export const FONT = "11px ui-monospace, SFMono-Regular, Menlo, monospace";
const BOTTOM = 40;
const TOP = 10;
const NEAR = 14;

/** Where the plot is inside its axes, in pixels, and its scales. */
export interface Axes {
  x: Scale;
  y: Scale;
  left: number;
  right: number;
  top: number;
  bottom: number;
}

export function kindOf(one: Dimension): Kind {
  return one.log ? "log" : "linear";
}

function domain(one: Dimension): [number, number] {
  if (one.categories) return [one.low, one.high];
  if (one.log) return [one.low / 1.15, one.high * 1.15];
  const span = (one.high - one.low) * 0.05;
  return [one.low - span, one.high + span];
}

function marks(one: Dimension, scale: Scale, count: number): { value: number; label: string }[] {
  if (one.categories) return one.categories.map((label, value) => ({ value, label: label.slice(0, 14) }));
  const found = ticks(scale, kindOf(one), count);
  const whole = one.numbers.every((value) => value === null || Number.isInteger(value));
  return whole ? found.filter(({ value }) => Number.isInteger(value)) : found;
}

/** The places of the axes; `margin` is what is free to the right. */
export function axesOf(context: CanvasRenderingContext2D, x: Dimension, y: Dimension, width: number, height: number, margin: number): Axes {
  context.font = FONT;
  const [top, bottom, right] = [TOP, height - BOTTOM, width - margin];
  const up = makeScale(kindOf(y), domain(y), [bottom, top]);
  const widest = Math.max(...marks(y, up, Math.floor(height / 50)).map((mark) => context.measureText(mark.label).width), 30);
  const left = widest + 28;
  return { x: makeScale(kindOf(x), domain(x), [left, right]), y: up, left, right, top, bottom };
}

/** Draw the grid, the labels of the ticks, and the name of x. The name of y is a text of its own. */
export function drawAxes(context: CanvasRenderingContext2D, axes: Axes, x: Dimension, y: Dimension, height: number): void {
  const { left, right, top, bottom } = axes;
  context.strokeStyle = colour("--line");
  context.fillStyle = colour("--soft");
  context.lineWidth = 1;
  context.textBaseline = "middle";
  context.textAlign = "right";
  context.beginPath();
  for (const { value, label } of marks(y, axes.y, Math.floor(height / 50))) {
    const place = Math.round(axes.y(value)) + 0.5;
    context.moveTo(left, place);
    context.lineTo(right, place);
    context.fillText(label, left - 6, place);
  }
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const { value, label } of marks(x, axes.x, Math.floor((right - left) / 80))) {
    const place = Math.round(axes.x(value)) + 0.5;
    context.moveTo(place, top);
    context.lineTo(place, bottom);
    context.fillText(label, place, bottom + 5);
  }
  context.stroke();
  context.fillStyle = colour("--ink");
  context.fillText(x.label, (left + right) / 2, height - 15);
}

/** The run whose point is next to a place of the plot. */
export function runNear(axes: Axes, ids: string[], x: Dimension, y: Dimension, px: number, py: number): string | null {
  let best: string | null = null;
  let away = NEAR;
  ids.forEach((id, row) => {
    const [a, b] = [x.numbers[row], y.numbers[row]];
    if (a === null || b === null || a === undefined || b === undefined) return;
    const distance = Math.hypot(axes.x(a) - px, axes.y(b) - py);
    if (distance < away) [best, away] = [id, distance];
  });
  return best;
}
