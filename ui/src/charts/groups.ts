/** Curves of groups of runs: the mean, with one standard deviation on each side. */
import type { Curve } from "../api/curves";
import { search } from "./draw";

/**
 * Curves of runs, combined by group. Each curve is read at the middle of each column; between two points of a curve its value is
 * interpolated, outside of its range it does not count.
 */
export function groupCurves(curves: Curve[], groupOf: Map<string, string>, domain: [number, number], columns: number): Curve[] {
  const groups = new Map<string, Curve[]>();
  for (const curve of curves) {
    const label = groupOf.get(curve.run);
    if (label !== undefined) groups.set(label, [...(groups.get(label) ?? []), curve]);
  }
  const width = (domain[1] - domain[0]) / columns;
  const x = Float64Array.from({ length: columns }, (_, place) => domain[0] + (place + 0.5) * width);
  return [...groups].map(([label, members]): Curve => {
    const sum = new Float64Array(columns);
    const squares = new Float64Array(columns);
    const counts = new Float64Array(columns);
    for (const curve of members) {
      for (let place = 0; place < columns; place++) {
        const value = valueAt(curve, x[place]!);
        if (!Number.isFinite(value)) continue;
        sum[place]! += value;
        squares[place]! += value * value;
        counts[place]! += 1;
      }
    }
    const low = new Float64Array(columns).fill(Number.NaN);
    const high = new Float64Array(columns).fill(Number.NaN);
    for (let place = 0; place < columns; place++) {
      const n = counts[place]!;
      if (!n) continue;
      const mean = sum[place]! / n;
      const deviation = n > 1 ? Math.sqrt(Math.max(squares[place]! - n * mean * mean, 0) / (n - 1)) : 0;
      low[place] = mean - deviation;
      high[place] = mean + deviation;
    }
    return {
      run: label,
      key: members[0]!.key,
      form: "grid",
      count: members.reduce((total, one) => total + one.count, 0),
      nans: members.reduce((total, one) => total + one.nans, 0),
      nanAt: members.flatMap((one) => one.nanAt),
      last: Math.max(...members.map((one) => one.last ?? -Infinity)),
      x,
      low,
      high,
      spread: true,
    };
  });
}

/** The value of a curve at an x value; NaN outside of its range. */
export function valueAt(curve: Curve, x: number): number {
  const { length } = curve.x;
  if (!length) return Number.NaN;
  const middle = (place: number) => (curve.low[place]! + curve.high[place]!) / 2;
  let after = search(curve.x, x);
  if (after === 0) return curve.x[0]! - x <= (curve.x[1] ?? x) - curve.x[0]! && curve.form === "grid" ? middle(0) : x === curve.x[0] ? middle(0) : Number.NaN;
  if (after >= length) return curve.form === "grid" ? middle(length - 1) : Number.NaN;
  let before = after - 1;
  // columns without points lie between two points
  while (before >= 0 && curve.form === "grid" && Number.isNaN(middle(before))) before--;
  while (after < length && curve.form === "grid" && Number.isNaN(middle(after))) after++;
  if (before < 0 || after >= length) return Number.NaN;
  const share = (x - curve.x[before]!) / (curve.x[after]! - curve.x[before]! || 1);
  return middle(before) * (1 - share) + middle(after) * share;
}
