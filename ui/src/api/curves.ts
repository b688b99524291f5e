/** Curves in the binary form of `POST /api/curves`. */
import { binary } from "./client";

export type Axis = string;

export interface Curve {
  run: string;
  key: string;
  /** `points`: x and y of each point. `grid`: least and greatest value of each column. */
  form: "points" | "grid";
  count: number;
  nans: number;
  nanAt: number[];
  last: number | null;
  /** Of points: their x values; of a grid: the middle of each column. */
  x: Float64Array;
  low: Float64Array | Float32Array;
  high: Float64Array | Float32Array;
  /** Whether the band is a spread of several runs, not the range of the points of one. */
  spread?: boolean;
}

export interface Curves {
  from: number;
  to: number;
  columns: number;
  curves: Curve[];
  bytes: number;
}

interface Header {
  from: number;
  to: number;
  columns: number;
  curves: {
    run: string;
    key: string;
    form: "points" | "grid";
    count: number;
    shown: number;
    nans: number;
    nan_at: number[];
    last: number | null;
    first: number | null;
    stride: number | null;
  }[];
}

export interface CurvesQuery {
  series?: [string, string][];
  runs?: string[];
  key?: string;
  x?: Axis;
  from?: number | null;
  to?: number | null;
  columns?: number;
}

export async function fetchCurves(query: CurvesQuery, abort?: AbortSignal): Promise<Curves> {
  return decode(await binary("/api/curves", query, abort));
}

export function decode(body: ArrayBuffer): Curves {
  const length = new DataView(body).getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(body, 8, length))) as Header;
  let place = Math.ceil((8 + length) / 8) * 8;
  const width = (header.to - header.from) / header.columns;
  const middles = new Float64Array(header.columns);
  for (let i = 0; i < middles.length; i++) middles[i] = header.from + (i + 0.5) * width;

  const doubles = (count: number) => {
    const view = new Float64Array(body, place, count);
    place += count * 8;
    return view;
  };
  const floats = (count: number) => {
    const view = new Float32Array(body, place, count);
    place += Math.ceil((count * 4) / 8) * 8;
    return view;
  };
  const curves = header.curves.map((one): Curve => {
    const head = {
      run: one.run,
      key: one.key,
      form: one.form,
      count: one.count,
      nans: one.nans,
      nanAt: one.nan_at,
      last: one.last,
    };
    if (one.form === "grid") return { ...head, x: middles, low: floats(one.shown), high: floats(one.shown) };
    let x: Float64Array;
    if (one.first === null || one.stride === null) x = doubles(one.shown);
    else {
      x = new Float64Array(one.shown);
      for (let i = 0; i < x.length; i++) x[i] = one.first + one.stride * i;
    }
    const y = doubles(one.shown);
    return { ...head, x, low: y, high: y };
  });
  return { from: header.from, to: header.to, columns: header.columns, curves, bytes: body.byteLength };
}
