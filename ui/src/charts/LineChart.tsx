import type { Signal } from "@preact/signals";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Curve } from "../api/curves";
import { number } from "../parts/format";
import { colour, colours, isDark } from "../state/theme";
import { drawChart, drawCurve, nearest, type Frame, type Look, type Options } from "./draw";
import { colourOf, dashOf } from "./palette";
import { xLabel, type Kind } from "./scales";

interface Props {
  title: string;
  curves: Curve[];
  /** The whole range of x, without a zoom. */
  whole: [number, number];
  axis: string;
  xKind?: Kind;
  yKind?: Kind;
  smooth?: number;
  zoom: [number, number] | null;
  onZoom?: (range: [number, number] | null) => void;
  name: (run: string) => string;
  /** The run under the pointer, in any panel. */
  hovered: Signal<string | null>;
  /** The x value under the pointer, in any chart. */
  cursor: Signal<number | null>;
  height?: number;
  /** The range of y, for charts that are compared. Default: that of the curves. */
  yRange?: [number, number] | null;
  /** A look other than that of the run, by the run of the curve. */
  look?: (run: string) => Look;
  onOpen?: (run: string) => void;
}

const MOST_ROWS = 9;

/** Curves with a band from least to greatest value. Drag to zoom, double-click to see all. */
export function LineChart(props: Props) {
  const { curves, whole, axis, zoom, onZoom, name, hovered, cursor } = props;
  const { xKind = "linear", yKind = "linear", smooth = 0, height = 200 } = props;
  const root = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const overlay = useRef<HTMLCanvasElement>(null);
  const frame = useRef<Frame | null>(null);
  const [width, setWidth] = useState(0);
  const [drag, setDrag] = useState<[number, number] | null>(null);
  const [pointer, setPointer] = useState<{ x: number; y: number } | null>(null);
  const domain = zoom ?? whole;
  const dark = isDark();
  const options: Options = {
    axis,
    xKind,
    yKind,
    domain,
    smooth,
    ink: colour("--soft"),
    faint: colour("--line"),
    look: props.look ?? ((run) => (run === "" ? { colour: colour("--accent"), dash: [] } : { colour: colourOf(run, dark), dash: dashOf(run) })),
    yRange: props.yRange ?? null,
  };

  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    if (root.current) watch.observe(root.current);
    return () => watch.disconnect();
  }, []);

  const version = colours.value;
  useEffect(() => {
    if (!width || !canvas.current) return;
    const context = sized(canvas.current, width, height);
    frame.current = drawChart(context, width, height, curves, options);
    const { current } = root;
    if (current) {
      const [low = 0, high = 0] = frame.current.y.domain();
      current.dataset.y = `${low},${high}`;
      current.dataset.x = `${domain[0]},${domain[1]}`;
    }
  }, [curves, width, height, domain[0], domain[1], xKind, yKind, smooth, axis, version, props.yRange?.[0], props.yRange?.[1]]);

  const at = cursor.value;
  const marked = hovered.value;
  useEffect(() => {
    if (!width || !overlay.current || !frame.current) return;
    const context = sized(overlay.current, width, height);
    const { current: place } = frame;
    context.save();
    context.beginPath();
    context.rect(place.left, 0, place.right - place.left + 1, place.bottom + 1);
    context.clip();
    const curve = marked === null ? undefined : curves.find((one) => one.run === marked);
    if (curve) {
      context.fillStyle = colour("--veil");
      context.fillRect(place.left, 0, place.right - place.left, place.bottom);
      drawCurve(context, place, curve, options, 1, 2.2);
    }
    if (at !== null && at >= domain[0] && at <= domain[1]) {
      const x = Math.round(place.x(at)) + 0.5;
      context.strokeStyle = colour("--soft");
      context.lineWidth = 1;
      context.setLineDash([3, 3]);
      context.beginPath();
      context.moveTo(x, place.top);
      context.lineTo(x, place.bottom);
      context.stroke();
      context.setLineDash([]);
    }
    if (drag) {
      context.fillStyle = colour("--select");
      context.fillRect(Math.min(...drag), place.top, Math.abs(drag[1] - drag[0]), place.bottom - place.top);
    }
    context.restore();
  }, [at, marked, drag, curves, width, height, domain[0], domain[1], version]);

  const rows = useMemo(() => {
    const { current: place } = frame;
    if (at === null || !place) return [];
    return curves
      .map((curve) => ({ curve, i: nearest(curve, at) }))
      .filter(({ i }) => i >= 0)
      .map(({ curve, i }) => {
        const value = (curve.low[i]! + curve.high[i]!) / 2;
        return { curve, value, low: curve.low[i]!, high: curve.high[i]!, x: curve.x[i]!, away: place.y(value) };
      });
  }, [at, curves, width, yKind]);

  function move(event: PointerEvent): void {
    const { current: place } = frame;
    if (!place || !root.current) return;
    const box = root.current.getBoundingClientRect();
    const x = Math.min(Math.max(event.clientX - box.left, place.left), place.right);
    const y = event.clientY - box.top;
    setPointer({ x, y });
    cursor.value = place.x.invert(x);
    if (drag) setDrag([drag[0], x]);
    else if (curves.length > 1) {
      let best: string | null = null;
      let away = 14;
      for (const curve of curves) {
        const i = nearest(curve, cursor.value);
        if (i < 0) continue;
        const top = place.y(curve.high[i]!);
        const bottom = place.y(curve.low[i]!);
        const distance = y < top ? top - y : y > bottom ? y - bottom : 0;
        if (distance < away) [best, away] = [curve.run, distance];
      }
      hovered.value = best;
    }
  }

  function release(): void {
    const { current: place } = frame;
    if (drag && place && Math.abs(drag[1] - drag[0]) > 6) {
      onZoom?.([place.x.invert(Math.min(...drag)), place.x.invert(Math.max(...drag))]);
    }
    setDrag(null);
  }

  const shown = pointer
    ? [...rows].sort((a, b) => Math.abs(a.away - pointer.y) - Math.abs(b.away - pointer.y)).slice(0, MOST_ROWS)
    : [];
  shown.sort((a, b) => b.value - a.value);
  const nans = curves.reduce((sum, curve) => sum + curve.nans, 0);

  return (
    <div
      ref={root}
      class="chart"
      style={{ height: `${height}px` }}
      role="img"
      tabIndex={0}
      aria-label={`${props.title}: ${curves.length} curves from ${xLabel(axis, domain[0])} to ${xLabel(axis, domain[1])}${nans ? `, ${nans} NaN` : ""}`}
      data-curves={curves.length}
      data-nans={nans}
      onPointerMove={move}
      onPointerLeave={() => {
        setPointer(null);
        cursor.value = null;
        hovered.value = null;
        setDrag(null);
      }}
      onPointerDown={(event) => {
        const { current: place } = frame;
        if (event.button !== 0 || !place || !root.current) return;
        const x = event.clientX - root.current.getBoundingClientRect().left;
        if (x >= place.left) setDrag([x, x]);
      }}
      onPointerUp={release}
      onDblClick={() => onZoom?.(null)}
      onKeyDown={(event) => {
        if (event.key === "z" || event.key === "Escape") onZoom?.(null);
      }}
    >
      <canvas ref={canvas} />
      <canvas ref={overlay} class="overlay" />
      {pointer && at !== null && shown.length > 0 && (
        <div
          class="readout"
          style={{
            [pointer.x > width / 2 ? "right" : "left"]: `${(pointer.x > width / 2 ? width - pointer.x : pointer.x) + 12}px`,
            top: `${Math.min(pointer.y, height - 40)}px`,
          }}
        >
          <div class="soft">{xLabel(axis, shown[0]!.x)}</div>
          <table>
            <tbody>
              {shown.map(({ curve, value, low, high }) => (
                <tr key={`${curve.run}/${curve.key}`} class={curve.run === marked ? "marked" : ""}>
                  <td>
                    <i class="swatch" style={{ background: options.look(curve.run).colour }} />
                    {name(curve.run)}
                  </td>
                  <td class="number">{number(value)}</td>
                  {curve.form === "grid" && low !== high && (
                    <td class="number soft">
                      {number(low)} – {number(high)}
                    </td>
                  )}
                </tr>
              ))}
            </tbody>
          </table>
          {rows.length > shown.length && <div class="soft">and {rows.length - shown.length} more</div>}
        </div>
      )}
    </div>
  );
}

/** Give a canvas the size of its box in device pixels; returns its context in CSS pixels, empty. */
export function sized(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D {
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d")!;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}
