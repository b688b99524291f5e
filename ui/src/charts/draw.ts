/** Draw curves on a canvas. Each point lies in a column that is drawn, so no outlier is hidden. */
import type { Curve } from "../api/curves";
import { makeScale, ticks, xTicks, type Kind, type Scale } from "./scales";

export interface Look {
  colour: string;
  dash: number[];
}

export interface Frame {
  width: number;
  height: number;
  x: Scale;
  y: Scale;
  left: number;
  right: number;
  top: number;
  bottom: number;
}

export interface Options {
  axis: string;
  xKind: Kind;
  yKind: Kind;
  domain: [number, number];
  /** Exponential smoothing, 0 (none) to 0.99. */
  smooth: number;
  ink: string;
  faint: string;
  look: (run: string) => Look;
  /** Fixed limits of y, or null. */
  yRange: [number, number] | null;
}

const TOP = 8;
const BOTTOM = 20;
const RIGHT = 10;

/** The least and greatest finite value between two x values. */
export function extent(curves: Curve[], domain: [number, number], positive: boolean): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const curve of curves) {
    const [first, last] = visible(curve, domain);
    for (let i = first; i < last; i++) {
      const bottom = curve.low[i]!;
      const top = curve.high[i]!;
      if (bottom < low && bottom > -Infinity && (!positive || bottom > 0)) low = bottom;
      if (top > high && top < Infinity) high = top;
      if (positive && bottom <= 0 && top > 0 && top < low) low = top;
    }
  }
  return low <= high ? [low, high] : positive ? [0.1, 1] : [0, 1];
}

/** The places of the points of a curve in a range of x, and one more on each side, so that lines reach the border. */
export function visible(curve: Curve, domain: [number, number]): [number, number] {
  const first = Math.max(search(curve.x, domain[0]) - 1, 0);
  const last = Math.min(search(curve.x, domain[1]) + 2, curve.x.length);
  return [first, last];
}

/** The first place whose value is at least this one. */
export function search(sorted: Float64Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function drawChart(
  context: CanvasRenderingContext2D,
  width: number,
  height: number,
  curves: Curve[],
  options: Options,
): Frame {
  context.clearRect(0, 0, width, height);
  context.font = "11px ui-monospace, SFMono-Regular, Menlo, monospace";
  const span = options.yRange ?? padded(extent(curves, options.domain, options.yKind === "log"), options.yKind);
  const y = makeScale(options.yKind, span, [height - BOTTOM, TOP]);
  const marks = ticks(y, options.yKind, Math.max(2, Math.floor((height - BOTTOM) / 34)));
  const left = Math.ceil(Math.max(26, ...marks.map((mark) => context.measureText(mark.label).width))) + 10;
  const x = makeScale(options.xKind, options.domain, [left, width - RIGHT]);
  const frame: Frame = { width, height, x, y, left, right: width - RIGHT, top: TOP, bottom: height - BOTTOM };
  drawAxes(context, frame, marks, options);

  context.save();
  context.beginPath();
  context.rect(left, 0, width - RIGHT - left + 1, height - BOTTOM + 1);
  context.clip();
  const alpha = curves.length > 60 ? 0.45 : curves.length > 20 ? 0.7 : 1;
  if (curves.length > MANY) drawDensity(context, frame, curves, options);
  else for (const curve of curves) drawCurve(context, frame, curve, options, alpha, 1.3);
  context.restore();
  for (const curve of curves) drawMarks(context, frame, curve, options);
  return frame;
}

function padded([low, high]: [number, number], kind: Kind): [number, number] {
  if (kind === "log") return [low / 1.1, high * 1.1];
  const room = (high - low) * 0.04;
  return [low - room, high + room];
}

function drawAxes(
  context: CanvasRenderingContext2D,
  frame: Frame,
  marks: { value: number; label: string }[],
  options: Options,
): void {
  context.strokeStyle = options.faint;
  context.fillStyle = options.ink;
  context.lineWidth = 1;
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.beginPath();
  for (const { value, label } of marks) {
    const place = Math.round(frame.y(value)) + 0.5;
    context.moveTo(frame.left, place);
    context.lineTo(frame.right, place);
    context.fillText(label, frame.left - 6, place);
  }
  context.stroke();
  context.textAlign = "center";
  context.textBaseline = "top";
  const count = Math.max(2, Math.floor((frame.right - frame.left) / 80));
  for (const { value, label } of xTicks(frame.x, options.xKind === "log" ? "log" : options.axis, count)) {
    const place = frame.x(value);
    const half = context.measureText(label).width / 2;
    if (place - half < 0 || place + half > frame.width) continue;
    context.fillText(label, place, frame.bottom + 6);
  }
}

/** Draw one curve: the band from least to greatest value, and a line through its middle. */
export function drawCurve(
  context: CanvasRenderingContext2D,
  frame: Frame,
  curve: Curve,
  options: Options,
  alpha: number,
  lineWidth: number,
): void {
  const { x, y } = frame;
  const { colour, dash } = options.look(curve.run);
  const [first, last] = visible(curve, options.domain);
  const smooth = options.smooth > 0;
  if (curve.form === "grid") {
    context.globalAlpha = alpha * (smooth ? 0.14 : 0.26);
    context.fillStyle = colour;
    context.beginPath();
    for (let i = first; i < last; i++) {
      const low = curve.low[i]!;
      if (Number.isNaN(low)) continue;
      const top = limit(y(curve.high[i]!), frame);
      const bottom = limit(y(low), frame);
      const begin = x(curve.x[i]!);
      const width = Math.max(x(curve.x[i]! + (curve.x[1]! - curve.x[0]!)) - begin, 1);
      context.rect(begin - width / 2, top - 0.5, width, bottom - top + 1);
    }
    context.fill();
    if (!curve.spread) drawSpikes(context, frame, curve, first, last, colour, alpha);
  }
  context.globalAlpha = smooth ? alpha * 0.3 : alpha;
  context.strokeStyle = colour;
  context.lineWidth = lineWidth;
  context.lineJoin = "round";
  context.setLineDash(dash);
  line(context, frame, curve, first, last, (i) => (curve.low[i]! + curve.high[i]!) / 2);
  if (smooth) {
    context.globalAlpha = alpha;
    context.lineWidth = lineWidth + 0.7;
    const smoothed = smoothen(curve, options.smooth);
    line(context, frame, curve, first, last, (i) => smoothed[i]!);
  }
  context.setLineDash([]);
  if (curve.form === "points" && last - first <= (frame.right - frame.left) / 8) {
    context.fillStyle = colour;
    context.beginPath();
    for (let i = first; i < last; i++) {
      const value = curve.low[i]!;
      if (!Number.isFinite(value)) continue;
      context.moveTo(x(curve.x[i]!) + 2, y(value));
      context.arc(x(curve.x[i]!), y(value), 2, 0, 2 * Math.PI);
    }
    context.fill();
  }
  context.globalAlpha = 1;
}

/** More curves than this are drawn as a density with quantiles. */
export const MANY = 100;
const QUANTILES = [0.05, 0.5, 0.95];

/** Draw how many curves pass each place, and the quantiles of their values. Extremes of single curves stay visible: nothing is left out. */
function drawDensity(context: CanvasRenderingContext2D, frame: Frame, curves: Curve[], options: Options): void {
  const { x, y } = frame;
  const { colour } = options.look("");
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.globalAlpha = Math.max(0.06, 12 / curves.length);
  for (const curve of curves) {
    const [first, last] = visible(curve, options.domain);
    context.beginPath();
    let open = false;
    for (let i = first; i < last; i++) {
      if (Number.isNaN(curve.low[i]!)) continue;
      const place = x(curve.x[i]!);
      const top = limit(y(curve.high[i]!), frame);
      const bottom = limit(y(curve.low[i]!), frame);
      if (Number.isNaN(top + bottom)) continue;
      if (open) context.lineTo(place, bottom);
      else context.moveTo(place, bottom);
      if (top !== bottom) context.lineTo(place, top);
      open = true;
    }
    context.stroke();
  }
  context.globalAlpha = 1;
  const steps = Math.floor((frame.right - frame.left) / 4);
  const values = Array.from({ length: steps }, (_, step) => {
    const at = x.invert(frame.left + step * 4);
    return curves
      .map((curve) => {
        const i = nearest(curve, at);
        return i < 0 || at < curve.x[0]! || at > curve.x[curve.x.length - 1]! ? Number.NaN : (curve.low[i]! + curve.high[i]!) / 2;
      })
      .filter(Number.isFinite)
      .sort((a, b) => a - b);
  });
  for (const quantile of QUANTILES) {
    context.lineWidth = quantile === 0.5 ? 2.2 : 1.2;
    context.setLineDash(quantile === 0.5 ? [] : [5, 3]);
    context.strokeStyle = options.ink;
    context.beginPath();
    let open = false;
    values.forEach((column, step) => {
      if (!column.length) {
        open = false;
        return;
      }
      const place = limit(y(column[Math.min(Math.floor(quantile * column.length), column.length - 1)]!), frame);
      if (open) context.lineTo(frame.left + step * 4, place);
      else context.moveTo(frame.left + step * 4, place);
      open = true;
    });
    context.stroke();
  }
  context.setLineDash([]);
}

const SPIKE = 4;

/** Draw columns that reach far beyond the usual height of the band in full colour: a pale spike is easily missed. */
function drawSpikes(
  context: CanvasRenderingContext2D,
  { x, y, ...frame }: Frame,
  curve: Curve,
  first: number,
  last: number,
  colour: string,
  alpha: number,
): void {
  const heights: number[] = [];
  for (let i = first; i < last; i++) {
    const height = y(curve.low[i]!) - y(curve.high[i]!);
    if (Number.isFinite(height)) heights.push(height);
  }
  if (!heights.length) return;
  heights.sort((a, b) => a - b);
  const usual = Math.max(heights[heights.length >> 1]! * SPIKE, 3);
  context.globalAlpha = alpha;
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.beginPath();
  for (let i = first; i < last; i++) {
    const [top, bottom] = [y(curve.high[i]!), y(curve.low[i]!)];
    if (!(bottom - top > usual)) continue;
    const place = Math.round(x(curve.x[i]!)) + 0.5;
    context.moveTo(place, limit(top, { x, y, ...frame }));
    context.lineTo(place, limit(bottom, { x, y, ...frame }));
  }
  context.stroke();
}

function line(
  context: CanvasRenderingContext2D,
  frame: Frame,
  curve: Curve,
  first: number,
  last: number,
  value: (place: number) => number,
): void {
  let open = false;
  context.beginPath();
  for (let i = first; i < last; i++) {
    const found = value(i);
    if (Number.isNaN(found)) {
      if (curve.form === "points") open = false; // a column without points is no gap, a NaN is one
      continue;
    }
    const place = limit(frame.y(found), frame);
    if (Number.isNaN(place)) {
      open = false;
      continue;
    }
    if (open) context.lineTo(frame.x(curve.x[i]!), place);
    else context.moveTo(frame.x(curve.x[i]!), place);
    open = true;
  }
  context.stroke();
}

/** A place that a canvas accepts: infinities lie just outside of the chart. */
function limit(place: number, frame: Frame): number {
  return place > frame.bottom + 4000 ? frame.bottom + 4000 : place < frame.top - 4000 ? frame.top - 4000 : place;
}

/** An exponential average that gives each point the weight 1 - factor, without a bias at the start. */
export function smoothen(curve: Curve, factor: number): Float64Array {
  const found = new Float64Array(curve.x.length);
  let sum = 0;
  let weight = 0;
  for (let i = 0; i < found.length; i++) {
    const value = (curve.low[i]! + curve.high[i]!) / 2;
    if (Number.isFinite(value)) {
      sum = sum * factor + value * (1 - factor);
      weight = weight * factor + (1 - factor);
      found[i] = sum / weight;
    } else found[i] = Number.NaN;
  }
  return found;
}

/** Mark NaN with crosses on the x axis, and infinities with triangles at the border. */
function drawMarks(context: CanvasRenderingContext2D, frame: Frame, curve: Curve, options: Options): void {
  const { colour } = options.look(curve.run);
  context.strokeStyle = colour;
  context.fillStyle = colour;
  context.lineWidth = 1.4;
  if (curve.nanAt.length) {
    context.beginPath();
    for (const value of curve.nanAt) {
      if (value < options.domain[0] || value > options.domain[1]) continue;
      const place = frame.x(value);
      context.moveTo(place - 3, frame.bottom - 3);
      context.lineTo(place + 3, frame.bottom + 3);
      context.moveTo(place + 3, frame.bottom - 3);
      context.lineTo(place - 3, frame.bottom + 3);
    }
    context.stroke();
  }
  const [first, last] = visible(curve, options.domain);
  context.beginPath();
  for (let i = first; i < last; i++) {
    if (curve.high[i] === Infinity) triangle(context, frame.x(curve.x[i]!), frame.top, 1);
    if (curve.low[i] === -Infinity) triangle(context, frame.x(curve.x[i]!), frame.bottom, -1);
  }
  context.fill();
}

function triangle(context: CanvasRenderingContext2D, x: number, y: number, direction: 1 | -1): void {
  context.moveTo(x - 4, y + 6 * direction);
  context.lineTo(x + 4, y + 6 * direction);
  context.lineTo(x, y);
  context.closePath();
}

/** The value of a curve nearest to an x value: the place in its arrays, or -1. */
export function nearest(curve: Curve, x: number): number {
  const { length } = curve.x;
  if (!length) return -1;
  if (curve.form === "grid") {
    // columns without points: look at the neighbours
    const start = Math.min(Math.max(search(curve.x, x) - (x < curve.x[0]! ? 0 : 1), 0), length - 1);
    for (let away = 0; away < length; away++) {
      for (const place of [start - away, start + away]) {
        if (place >= 0 && place < length && !Number.isNaN(curve.low[place]!)) return place;
      }
    }
    return -1;
  }
  const after = search(curve.x, x);
  if (after <= 0) return 0;
  if (after >= length) return length - 1;
  return x - curve.x[after - 1]! <= curve.x[after]! - x ? after - 1 : after;
}
