/** Values of scattered points on a regular grid, and their colours. */
import { contours } from "d3-contour";

/** Dark to bright; as easy to order in grey, and without red against green. */
const STOPS = [
  [68, 1, 84],
  [65, 68, 135],
  [42, 120, 142],
  [34, 168, 132],
  [122, 209, 81],
  [253, 231, 37],
] as const;
const BANDS = 12;

export interface Site {
  /** From 0 to 1, to the right and down. */
  u: number;
  v: number;
  value: number;
}

/** The colour of a share from 0 (dark) to 1 (bright). */
export function shadeOf(share: number): string {
  const place = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1);
  const at = Math.min(Math.floor(place), STOPS.length - 2);
  const [from, to] = [STOPS[at]!, STOPS[at + 1]!];
  const mixed = from.map((part, index) => Math.round(part + (to[index]! - part) * (place - at)));
  return `rgb(${mixed.join(" ")})`;
}

/**
 * The values of a grid of columns × rows, row by row, interpolated by inverse distance: never below the least or above the
 * greatest value of a site. Cells far from every site are NaN: nothing is known there.
 */
export function surface(sites: Site[], columns: number, rows: number): Float64Array {
  const found = new Float64Array(columns * rows).fill(Number.NaN);
  const reach = Math.min(Math.max(1.2 / Math.sqrt(sites.length), 0.12), 0.5);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const [u, v] = [(column + 0.5) / columns, (row + 0.5) / rows];
      let [sum, weights, nearest] = [0, 0, Infinity];
      for (const site of sites) {
        const distance = (site.u - u) ** 2 + (site.v - v) ** 2;
        nearest = Math.min(nearest, distance);
        const weight = 1 / (distance * distance + 1e-9);
        sum += weight * site.value;
        weights += weight;
      }
      if (nearest <= reach * reach) found[row * columns + column] = sum / weights;
    }
  }
  return found;
}

/** How many bands of colour there are between two values, and where each begins. */
export function bandsOf(low: number, high: number): number[] {
  return Array.from({ length: BANDS }, (_, place) => low + ((high - low) * place) / BANDS);
}

/** Outlines of the bands: for each threshold, the rings around what is above it, in columns and rows. */
export function outlines(values: Float64Array, columns: number, rows: number, thresholds: number[]): { value: number; rings: [number, number][][] }[] {
  return contours()
    .size([columns, rows])
    .thresholds(thresholds)(values as unknown as number[])
    .map(({ value, coordinates }) => ({ value, rings: coordinates.flat() as [number, number][][] }));
}
